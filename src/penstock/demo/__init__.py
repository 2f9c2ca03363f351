"""A subscriber, a box and an internet on one machine: for `penstock demo`, the live tests and the benchmarks."""
