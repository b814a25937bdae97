"""tinygrad on the CPU: the card of the backend. Importing it imports no framework."""

from attnbench.api.backends import BackendInfo, Program

BACKEND = BackendInfo(
    name="tinygrad",
    package="attnbench.impls.tinygrad_backend",
    requires="tinygrad",
    extra="tinygrad",
    implementations=(("sdpa", "sdpa"),),
    about={"sdpa": "scaled_dot_product_attention in a TinyJit"},
    devices={"sdpa": ("cpu",)},
    environment={
        "DEV": "CPU",
        # Otherwise what is compiled is kept in a file of the user's, and to compile would be to read it.
        "CACHELEVEL": "0",
        # One process compiles, or else a pool of them starts by itself.
        "PARALLEL": "0",
    },
    sharing={"CACHELEVEL": "2", "CACHEDB": "{folder}/tinygrad.db"},
    compiles=True,
    native="semantics:KERNELS",
    needs={"*": Program("the compiler of tinygrad", ("clang",), "on Debian, apt-get install clang", "CC")},
    one_thread="tinygrad runs the parts of a CPU kernel one after the other, in the thread that calls it",
)
