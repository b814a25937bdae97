"""PyTorch: the card of the backend. Importing it imports no framework."""

import sys

from attnbench.api.backends import BackendInfo, Program

# Inductor runs what CXX names, else this.
COMPILER = Program(
    "a C++ compiler",
    names=("clang++",) if sys.platform == "darwin" else ("g++",),
    variable="CXX",
    install="xcode-select --install" if sys.platform == "darwin" else "apt install g++",
)

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
        ("blocked", "blocked"),
        ("chunked", "chunked"),
        ("mha", "mha"),
        ("mha-weights", "mha"),
        ("mha-fast", "mha"),
        ("compiled", "compiled.formula"),
        ("flex", "compiled.flex"),
        ("varlen", "varlen"),
    ),
    about={
        "naive": "the formula in PyTorch; every feature",
        "sdpa": "PyTorch's SDPA, free to choose its kernel",
        "sdpa-math": "PyTorch's SDPA, its unfused kernel",
        "sdpa-flash": "PyTorch's SDPA, its FlashAttention kernel",
        "sdpa-efficient": "PyTorch's SDPA, xFormers' kernel; 16-bit",
        "sdpa-cudnn": "PyTorch's SDPA, cuDNN's kernel; 16-bit",
        "blocked": "block by block, in plain operators",
        "chunked": "learned scores, block of queries by block",
        "mha": "nn.MultiheadAttention's core, by SDPA",
        "mha-weights": "nn.MultiheadAttention's core with its weights",
        "mha-fast": "nn.MultiheadAttention's fast path; inference",
        "compiled": "the formula, fused by torch.compile",
        "flex": "PyTorch's flex_attention, compiled; forward",
        "varlen": "PyTorch's varlen_attn, for packed sequences",
    },
    devices={
        **dict.fromkeys(("naive", "sdpa", "sdpa-math", "sdpa-flash", "chunked", "compiled", "flex"), ("cpu", "cuda")),
        **dict.fromkeys(("blocked", "mha", "mha-weights", "mha-fast"), ("cpu",)),
        **dict.fromkeys(("sdpa-efficient", "sdpa-cudnn", "varlen"), ("cuda",)),
    },
    # OpenMP and MKL read the variables that every backend gets; TORCH_NUM_THREADS does not exist.
    environment={
        # Inductor compiles in the process itself: a pool of its own would outlive the compiling.
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
    },
    # Inductor's code and its C++ compiled once for all processes of a check.
    sharing={"TORCHINDUCTOR_CACHE_DIR": "{folder}"},
    needs=dict.fromkeys(("compiled", "flex"), COMPILER),
    native="semantics:KERNELS",
)
