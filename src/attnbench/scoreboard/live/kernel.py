"""The drop-in file of the scoreboard: ``numpy/extra-K`` does K per cent of its work again; ``numpy/extra-0`` none."""

from __future__ import annotations

from attnbench.api import Call, Capabilities, Implementation, implementation
from attnbench.attention.arrays import Array
from attnbench.scoreboard.attention import attention


def _version(extra: int) -> Implementation:
    @implementation(f"numpy/extra-{extra}", Capabilities())
    def attend(q: Array, k: Array, v: Array, call: Call) -> Array:
        return attention(q, k, v, float(call.scale), extra)

    return attend


extra_0 = _version(0)
extra_2 = _version(2)
extra_3 = _version(3)
extra_5 = _version(5)
extra_10 = _version(10)
extra_20 = _version(20)
