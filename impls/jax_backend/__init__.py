"""JAX: the card of the backend. Importing it imports no framework."""

from attnbench.api.backends import BackendInfo

BACKEND = BackendInfo(
    name="jax",
    package="attnbench.impls.jax_backend",
    requires="jax",
    extra="jax",
    implementations=(
        ("naive", "naive"),
        ("blocked", "blocked"),
        ("nn-xla", "nn"),
        ("nn-cudnn", "nn"),
        ("fused", "fused"),
        ("pallas", "kernel"),
        ("pallas-hopper", "gpu.hopper"),
    ),
    about={
        "naive": "the formula in jax.numpy; every feature",
        "blocked": "tile by tile, both ways; no T × S array",
        "nn-xla": "jax.nn.dot_product_attention, compiled by XLA",
        "nn-cudnn": "jax.nn.dot_product_attention by cuDNN; 16-bit",
        "fused": "learned scores in one expression, fused by XLA",
        "pallas": "a kernel in Pallas; interpreted on the CPU",
        "pallas-hopper": "a kernel in Pallas for Hopper; TMA and wgmma",
    },
    devices={
        **dict.fromkeys(("naive", "blocked", "nn-xla", "fused", "pallas"), ("cpu", "cuda")),
        **dict.fromkeys(("nn-cudnn", "pallas-hopper"), ("cuda",)),
    },
    environment={
        # XLA's CPU client sizes its pool of `tf_XLAEigen` threads by PJRT_NPROC, in older releases by NPROC, else by
        # the CPU affinity. It reads neither OMP_NUM_THREADS nor --xla_cpu_multi_thread_eigen (observed with 0.10).
        "PJRT_NPROC": "{threads}",
        "NPROC": "{threads}",
        # Otherwise three quarters of the GPU's memory are taken at the start, and no peak can be measured.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    },
    native="semantics:KERNELS",
    # Python's thread enqueues, and XLA's pool computes. On one processor they wait for each other 3 to 7 % of a burst.
    compiles=True,
    dispatchers=1,
    # float64 needs jax_enable_x64, with which Python's numbers and integers are wider everywhere.
    apart=("float64",),
    # XLA's CPU code runs with denormals off, operands and results alike. Those of float16 are normal numbers in the
    # float32 that it computes in, and stay (observed with 0.10; tests/impls/test_jax_backend.py).
    flushes={"cpu": ("float64", "float32", "bfloat16")},
    sharing={
        "JAX_COMPILATION_CACHE_DIR": "{folder}",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    },
)
