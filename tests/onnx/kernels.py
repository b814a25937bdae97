"""Kernels with one fault each, made from ``numpy/naive`` by changing the call: what must not pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from attnbench.attention.call import Call
from attnbench.backends import discover
from attnbench.backends.implementation import Implementation


def _offset(call: Call) -> Call:
    return replace(call, offset=call.offset + 1)


def _window(call: Call) -> Call:
    left, right = call.spec.window or (None, None)
    grown = (None if left is None else left + 1, right)
    return replace(call, spec=replace(call.spec, window=grown))


def _softcap(call: Call) -> Call:
    return replace(call, spec=replace(call.spec, softcap=None))


def _lengths(call: Call) -> Call:
    return replace(call, kv_lengths=None)


def _mask(call: Call) -> Call:
    return replace(call, mask=None if call.mask is None else call.mask[:, :, :1])


def _scale(call: Call) -> Call:
    return replace(call, scale=call.scale * 1.01)


def _bias(call: Call) -> Call:
    return replace(call, bias=None)


FAULTS: dict[str, Callable[[Call], Call]] = {
    "causal off by one": _offset,
    "window off by one": _window,
    "softcap ignored": _softcap,
    "lengths ignored": _lengths,
    "mask of the first row used for all": _mask,
    "1 % of scale": _scale,
    "float mask ignored": _bias,
}


def faulty(name: str) -> Implementation:
    """``numpy/naive`` with the fault of this name."""
    right = discover.load_implementation("numpy/naive")

    def attend(q: Any, k: Any, v: Any, call: Call) -> Any:
        return right.attend(q, k, v, FAULTS[name](call))

    return Implementation("numpy/faulty", right.capabilities, attend)
