"""MLX on the CPU: the card of the backend. Importing it imports no framework."""

from attnbench.api.backends import BackendInfo

BACKEND = BackendInfo(
    name="mlx",
    package="attnbench.impls.mlx_backend",
    requires="mlx",
    extra="mlx",
    implementations=(("formula", "formula"), ("sdpa", "sdpa")),
    about={
        "formula": "the formula in mlx.core; every feature",
        "sdpa": "mlx.core.fast.scaled_dot_product_attention",
    },
    devices={"formula": ("cpu",), "sdpa": ("cpu",)},
    native="semantics:KERNELS",
    # The work is queued by Python's thread and done by that of MLX's CPU stream, one waiting for the other.
    one_thread="MLX computes on the CPU in the one thread of its stream, and the BLAS that comes with it has no pool",
)
