"""A tiny case and a good kernel in a drop-in file, for tests of workers and of measuring."""

from attnbench.api.suites import AttentionSpec, Case, Problem

GOOD = """
    import numpy as np
    from attnbench.api import Capabilities, implementation

    def softmax_attention(q, k, v, call):
        s = q @ np.swapaxes(k, -1, -2) * call.scale
        e = np.exp(s - s.max(-1, keepdims=True))
        return (e / e.sum(-1, keepdims=True)) @ v

    @implementation("numpy/good", Capabilities())
    def good(q, k, v, call):
        return softmax_attention(q, k, v, call)
"""


def tiny(T: int = 16) -> Case:
    return Case(AttentionSpec(), Problem(Hq=2, Tq=T, D=8))
