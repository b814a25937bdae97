"""Drop-in files for the tests: a right one, and wrong ones by the property that they break."""

from __future__ import annotations

HEAD = """
import numpy as np
from attnbench.api import Capabilities, implementation
"""

RIGHT = (
    HEAD
    + """
@implementation("numpy/mine", Capabilities())
def attend(q, k, v, call):
    s = np.einsum("bhtd,bhsd->bhts", q, k) * call.scale
    p = np.exp(s - s.max(-1, keepdims=True))
    p = p / p.sum(-1, keepdims=True)
    return np.einsum("bhts,bhsd->bhtd", p, v).astype(q.dtype)
"""
)

# name: (source, the fault that the check names)
WRONG = {
    "scale": (RIGHT.replace("* call.scale", "/ np.sqrt(q.shape[-1] + 1)"), "value"),
    "shape": (RIGHT.replace(".astype(q.dtype)", ".astype(q.dtype)[:, :, :-1]"), "shape"),
    "dtype": (RIGHT.replace(".astype(q.dtype)", ".astype(np.float16)"), "dtype"),
    "nan": (RIGHT.replace("return np", "p[:] = np.nan\n    return np"), "nan"),
    "raises": (RIGHT.replace("return np", "raise RuntimeError('no kernel for this')\n    return np"), "exception"),
    "writes": (RIGHT.replace("return np", "q *= 0\n    return np"), "input"),
    "dies": (RIGHT.replace("return np", "import os; os._exit(0)\n    return np"), "crash"),
}
