"""Onnxruntime's own attention, as its users call it, for ``attnbench semantics``."""
KERNELS = ()
