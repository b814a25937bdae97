"""Kernels that please the clock without doing their work: what a table of cheats holds, and how each is caught."""
