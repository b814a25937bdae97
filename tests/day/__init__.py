"""The day of the GPU, rehearsed."""
