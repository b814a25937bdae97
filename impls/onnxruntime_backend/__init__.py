"""Onnxruntime: the card of the backend. Importing it imports no framework.

``graph`` is what its implementations are written in, ``wire`` the file format below it, ``allowed`` the mask that all
of them share, ``attention`` ONNX's own operator and ``contrib`` Microsoft's two.
"""

from attnbench.api.backends import BackendInfo

BACKEND = BackendInfo(
    name="onnxruntime",
    package="attnbench.impls.onnxruntime_backend",
    requires="onnxruntime",
    extra="onnxruntime",
    implementations=(
        ("attention", "attention"),
        ("attention-f16", "attention"),
        ("attention-23", "attention"),
        ("mha", "contrib"),
        ("gqa", "contrib"),
        ("gqa-f16", "contrib"),
    ),
    about={
        "attention": "ONNX Attention, opset 24",
        "attention-f16": "the same in float16",
        "attention-23": "ONNX Attention, opset 23",
        "mha": "Microsoft's MultiHeadAttention",
        "gqa": "Microsoft's GroupQueryAttention; causal",
        "gqa-f16": "the same in float16",
    },
    devices=dict.fromkeys(("attention", "attention-f16", "attention-23", "mha", "gqa", "gqa-f16"), ("cpu",)),
    native="semantics:KERNELS",
    # A session is made for each shape.
    compiles=True,
)
