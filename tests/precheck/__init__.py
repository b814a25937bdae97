"""Kernels in Triton, right ones and planted faults, prechecked without a GPU."""
