"""Kernels in Triton, in a worker: recorded as they are launched, compiled for GPUs, and run by an interpreter."""
