"""The kernel's half of the path: the programs, the tables they share with the process, and raw bpf(2)."""
