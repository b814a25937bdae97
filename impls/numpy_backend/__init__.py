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
    about={
        "naive": "the formula stage by stage; every feature",
        "blocked": "in tiles, on all threads; no matrix of scores",
        "loops": "the definition in Python loops, to be read",
    },
    devices=dict.fromkeys(("naive", "blocked", "loops"), ("cpu",)),
    native="semantics:KERNELS",
)
