"""Two compilers over one source: Numba to native code (`native`) and Numba to eBPF (`ebpf`)."""
