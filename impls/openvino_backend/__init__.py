"""OpenVINO: the card of the backend. Importing it imports no framework.

``silent`` imports OpenVINO, ``graph`` is what implementations are written in, ``masks`` the mask that
it is given, ``sdpa`` the one that there is.
"""

from attnbench.api.backends import BackendInfo

BACKEND = BackendInfo(
    name="openvino",
    package="attnbench.impls.openvino_backend",
    requires="openvino",
    extra="openvino",
    implementations=(("sdpa", "sdpa"),),
    about={"sdpa": "OpenVINO's ScaledDotProductAttention"},
    devices={"sdpa": ("cpu",)},
    native="semantics:KERNELS",
    # A model is compiled for each shape.
    compiles=True,
)
