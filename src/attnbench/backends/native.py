"""A native kernel: a framework's own entry point, as its users call it, with nothing of ours around it.

``attnbench semantics`` probes these. An implementation brings a kernel to the spec; a native kernel is left as it is.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from attnbench.errors import UsageError, not_one_of

OPTIONS = ("mask", "bias", "causal", "softcap", "lse")


@dataclass(frozen=True)
class NativeKernel:
    """One native entry point of a backend.

    ``call(q, k, v, **options)`` takes native arrays q (B, Hq, Tq, D), k (B, Hkv, S, D), v (B, Hkv, S, Dv), rearranges
    them as the kernel wants and returns the output (B, Hq, Tq, Dv), or with ``lse=True`` the pair (output, lse).
    ``takes`` names the options that the kernel has: ``mask`` (Tq, S) bool, passed on in whatever polarity the kernel
    has; ``bias`` (Tq, S), added to the logits; ``causal=True``; ``softcap`` a float; ``lse``. No other is ever given.
    ``requires`` is the module that must be installed beside the backend's own framework.
    """

    name: str
    call: Callable[..., Any]
    takes: tuple[str, ...]
    devices: tuple[str, ...] = ("cpu",)
    requires: str | None = None

    def __post_init__(self) -> None:
        for option in self.takes:
            if option not in OPTIONS:
                raise UsageError(not_one_of("option", option, OPTIONS))

    def available(self) -> bool:
        """Whether what it requires is installed; looks, but does not import."""
        return self.requires is None or importlib.util.find_spec(self.requires) is not None
