"""What the Triton kernels of dot products can do, on a GPU and in Triton's interpreter on the CPU."""

from __future__ import annotations

from dataclasses import replace

from attnbench.api import Capabilities, Limit, Precision

INTERPRETED = "on the CPU Triton's interpreter runs the kernel step by step, which says nothing of its speed"

# The exponential is a GPU's own, ex2.approx: off by up to 2 units in the last place.
IN_FLOAT32 = Precision(exp_ulp=4.0, tanh_ulp=4.0)


def in_16_bits(dtype: str) -> Precision:
    """P is rounded before it meets V, and O before the backward pass reads it."""
    return replace(IN_FLOAT32, p_cast=dtype, stored_output=dtype)


PRECISION = {
    "float32": replace(IN_FLOAT32, stored_output="float32"),
    "bfloat16": in_16_bits("bfloat16"),
    "float16": in_16_bits("float16"),
}
ON_GPU = Capabilities(
    dtypes=("float32", "bfloat16", "float16"),
    devices=("cpu", "cuda"),
    causal=True,
    gqa=True,
    mask=True,
    bias=True,
    window=True,
    lengths=True,
    segments=True,
    softcap=True,
    sinks=True,
    slopes=True,
    head_scale=True,
    batch_offset=True,
    lse=True,
    gradients=True,
    precision=PRECISION,
    lacks={
        "float64": "its sums are float32",
        "dropout": "it is kept to what most models use; torch/naive has it",
        "log_n": "the scale is settled before the keys of a row are counted",
        "stages": "no (Tq, S) array is ever stored",
        "nan_isolation": "0 · NaN is NaN in its product of weights and values",
    },
    limits=(
        Limit("D", "tiles of the kernel have up to 256 columns", at_most=256),
        Limit("Dv", "tiles of the kernel have up to 256 columns", at_most=256),
    ),
)


def interpreted(on_gpu: Capabilities) -> Capabilities:
    """The same on the CPU."""
    return replace(
        on_gpu,
        dtypes=("float32", "float16"),
        lacks={**on_gpu.lacks, "bfloat16": "Triton's interpreter multiplies bfloat16 wrongly"},
        limits=(*on_gpu.limits, Limit("B*Hq*Tq*S", INTERPRETED, at_most=2**20)),
    )


ON_CPU = interpreted(ON_GPU)
# Decoding has few queries, and no backward pass.
DECODING_ON_GPU = replace(
    ON_GPU,
    gradients=False,
    precision={dtype: replace(precision, stored_output=None) for dtype, precision in PRECISION.items()},
    lacks={**ON_GPU.lacks, "gradients": "it is made for decoding, which has no backward pass"},
    limits=(*ON_GPU.limits, Limit("Tq", "it is made for decoding; triton/flash takes more queries", at_most=64)),
)
DECODING_ON_CPU = interpreted(DECODING_ON_GPU)
