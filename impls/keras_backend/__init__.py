"""Keras on PyTorch, JAX and NumPy: the cards of three backends. Importing it imports no framework.

Keras computes with one framework in a process, which it reads from KERAS_BACKEND when it is imported; so each of these
frameworks makes a backend of its own, and a worker is started for each.

In reading order: ``importing`` (Keras, with its backend), ``adapter`` (what the three have in common),
``adapter_torch``, ``adapter_jax``, ``adapter_numpy``, ``strides`` (arrays as users have them), ``allowed`` (masks),
``ops`` and ``layers`` (the public entry points, brought to the spec), ``kernels_torch``, ``kernels_jax``,
``kernels_numpy`` (what each side declares), ``semantics`` (the entry points as they are).
"""

from attnbench.api.backends import BackendInfo

VARIANTS = ("ops", "attention", "additive")
ABOUT = {
    "ops": "keras.ops.dot_product_attention",
    "attention": "keras.layers.Attention, heads along the batch",
    "additive": "keras.layers.AdditiveAttention and projections",
}
# Keras writes a keras.json into the folder that this names; a worker is to write none, and to read nobody's.
NOWHERE = "/dev/null"

TORCH = BackendInfo(
    name="keras_torch",
    package="attnbench.impls.keras_backend",
    requires="keras",
    also=("torch",),
    extra="keras,torch",
    adapter="adapter_torch:Adapter",
    implementations=tuple((variant, "kernels_torch") for variant in VARIANTS),
    about=ABOUT,
    devices=dict.fromkeys(VARIANTS, ("cpu",)),
    environment={"KERAS_BACKEND": "torch", "KERAS_TORCH_DEVICE": "cpu", "KERAS_HOME": NOWHERE},
    native="semantics:TORCH",
)

JAX = BackendInfo(
    name="keras_jax",
    package="attnbench.impls.keras_backend",
    requires="keras",
    also=("jax",),
    extra="keras,jax",
    adapter="adapter_jax:Adapter",
    implementations=tuple((variant, "kernels_jax") for variant in VARIANTS),
    about=ABOUT,
    devices=dict.fromkeys(VARIANTS, ("cpu",)),
    # Those of XLA are explained on the card of the backend jax.
    environment={
        "KERAS_BACKEND": "jax",
        "KERAS_HOME": NOWHERE,
        "PJRT_NPROC": "{threads}",
        "NPROC": "{threads}",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    },
    native="semantics:JAX",
    compiles=True,
    dispatchers=1,
    apart=("float64",),
    flushes={"cpu": ("float64", "float32", "bfloat16")},
    sharing={
        "JAX_COMPILATION_CACHE_DIR": "{folder}",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    },
)

NUMPY = BackendInfo(
    name="keras_numpy",
    package="attnbench.impls.keras_backend",
    requires="keras",
    extra="keras",
    adapter="adapter_numpy:Adapter",
    implementations=tuple((variant, "kernels_numpy") for variant in VARIANTS),
    about=ABOUT,
    devices=dict.fromkeys(VARIANTS, ("cpu",)),
    environment={"KERAS_BACKEND": "numpy", "KERAS_HOME": NOWHERE},
    native="semantics:NUMPY",
)
