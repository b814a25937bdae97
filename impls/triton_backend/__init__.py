"""Triton: the card of the backend. Importing it imports no framework.

Kernels of this project for GPUs, on PyTorch's tensors. None of them has run on a GPU yet (``docs/gpu.md``): they are
compiled for three architectures, and Triton's interpreter holds them to the oracle on the CPU.

In reading order: ``importing`` (Triton, as a compiler or as an interpreter), ``adapter`` (PyTorch's, with Triton's
devices), ``declared`` (what the kernels can do), ``flash`` (attention tile by tile), ``forward`` (its kernel).
"""

from attnbench.api.backends import BackendInfo

BACKEND = BackendInfo(
    name="triton",
    package="attnbench.impls.triton_backend",
    requires="triton",
    also=("torch",),
    extra="triton",
    implementations=(("flash", "flash"), ("decode", "decode")),
    about={
        "flash": "FlashAttention-2; interpreted on the CPU",
        "decode": "split-KV decoding; interpreted on the CPU",
    },
    devices=dict.fromkeys(("flash", "decode"), ("cpu", "cuda")),
)
