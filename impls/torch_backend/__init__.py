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
    # OpenMP and MKL read the variables that every backend gets; TORCH_NUM_THREADS does not exist.
    environment={},
    native="semantics:KERNELS",
)
