"""Kernels in Triton, in a worker: recorded as they are launched, compiled for GPUs, and run by an interpreter.

In reading order: ``cases`` (what an implementation is called with), ``architectures`` (what a multiprocessor holds),
``standin`` (a GPU that is not there), ``launches`` (what is launched, with nothing executed), ``recorded`` (all calls
of one dtype), ``products`` (matrix products of a kernel, and which of them are on tensor cores), ``machine`` (launches
as machine code), ``regions`` (the memory of one call, and what is wrong in how it is read and written),
``interpreted`` (Triton's interpreter, whose programs see no other memory), ``watched`` (one case judged and watched),
``twins`` (values of small tensors without memory), ``offsets`` (addresses of calls that are too large for any memory
here), ``plan`` (what of these is asked).
"""
