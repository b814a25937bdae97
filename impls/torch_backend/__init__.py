"""PyTorch: the card of the backend. Importing it imports no framework."""

from attnbench.api.backends import BackendInfo

BACKEND = BackendInfo(
    name="torch",
    package="attnbench.impls.torch_backend",
    requires="torch",
    extra="torch",
    implementations=(
        ("naive", "naive"),
        ("sdpa", "sdpa"),
        ("sdpa-math", "sdpa"),
        ("sdpa-flash", "sdpa"),
        ("sdpa-efficient", "sdpa"),
        ("sdpa-cudnn", "sdpa"),
        ("chunked", "chunked"),
    ),
    about={
        "naive": "the formula in tensor operations; every feature",
        "sdpa": "PyTorch's SDPA, free to choose its kernel",
        "sdpa-math": "PyTorch's SDPA, its unfused kernel",
        "sdpa-flash": "PyTorch's SDPA, its FlashAttention kernel",
        "sdpa-efficient": "PyTorch's SDPA, xFormers' kernel; 16-bit",
        "sdpa-cudnn": "PyTorch's SDPA, cuDNN's kernel; 16-bit",
        "chunked": "learned scores, a block of queries after the other",
    },
    devices={
        **dict.fromkeys(("naive", "sdpa", "sdpa-math", "sdpa-flash", "chunked"), ("cpu", "cuda")),
        **dict.fromkeys(("sdpa-efficient", "sdpa-cudnn"), ("cuda",)),
    },
    # OpenMP and MKL read the variables that every backend gets; TORCH_NUM_THREADS does not exist.
    environment={},
    native="semantics:KERNELS",
)
