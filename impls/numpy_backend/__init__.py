"""The NumPy backend: the definition in loops, a vectorised version, and a blocked one that stores no T × S array."""

from attnbench.api.backends import BackendInfo

BACKEND = BackendInfo(
    name="numpy",
    package="attnbench.impls.numpy_backend",
    requires="numpy",
    extra=None,
    implementations=(
        ("naive", "naive"),
        ("blocked", "blocked"),
        ("loops", "loops"),
    ),
    native="semantics:KERNELS",
)
