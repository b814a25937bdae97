"""OpenVINO: the card of the backend. Importing it imports no framework."""

from attnbench.api.backends import BackendInfo

BACKEND = BackendInfo(
    name="openvino",
    package="attnbench.impls.openvino_backend",
    requires="openvino",
    extra="openvino",
    implementations=(("sdpa", "sdpa"), ("sdpa-bf16", "sdpa")),
    about={
        "sdpa": "ScaledDotProductAttention in float32",
        "sdpa-bf16": "the same with the precision hint bf16",
    },
    devices=dict.fromkeys(("sdpa", "sdpa-bf16"), ("cpu",)),
    native="semantics:KERNELS",
    # A model is compiled for each shape.
    compiles=True,
)
