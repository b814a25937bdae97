"""Triton, as a compiler for a GPU or as the interpreter of its own programs: a process has one of the two.

Which one is settled when Triton is imported. TRITON_INTERPRET says it where it is set; else kernels are compiled where
there is a GPU, and interpreted where there is none. The variable is not left in the environment: other programs of this
process, and processes that it starts, are to find what the user has set.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from attnbench.api import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "TRITON_INTERPRET"


def is_interpreter_wanted() -> bool:
    """What TRITON_INTERPRET says; where it says nothing, whether there is no GPU."""
    given = os.environ.get(VARIABLE, "").strip().lower()
    return given in ("1", "true", "on", "yes", "y") if given else not torch.cuda.is_available()


def imported(*, interpreted: bool) -> Any:
    """Triton in the mode that is wanted; ``UsageError`` where it is imported already in the other one."""
    if "triton" in sys.modules:
        return _as_it_is(interpreted=interpreted)
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "1" if interpreted else "0"
    try:
        package = importlib.import_module("triton")
        importlib.import_module("triton.language")
        package.knobs.runtime.interpret = interpreted  # for this process, whatever stands in its environment later
    finally:
        os.environ.pop(VARIABLE, None)
        os.environ |= {} if before is None else {VARIABLE: before}
    return package


def _as_it_is(*, interpreted: bool) -> Any:
    package = importlib.import_module("triton")
    language = importlib.import_module("triton.language")
    is_compiler = isinstance(language.zeros, package.JITFunction)
    if is_compiler == interpreted:
        now, wanted = ("compiler", "interpreter") if interpreted else ("interpreter", "compiler")
        msg = (
            f"Triton is imported already in this process, as a {now}, and kernels here need the {wanted}: start another"
            f" process, with {VARIABLE}={int(interpreted)} python YOUR_PROGRAM"
        )
        raise UsageError(msg)
    return package


INTERPRETED = is_interpreter_wanted()
triton: Any = imported(interpreted=INTERPRETED)
tl: Any = triton.language


@contextmanager
def launching() -> Iterator[None]:
    """Around launches: NumPy, with which Triton interprets, warns of what a GPU takes as it comes (NaN, overflow)."""
    if not INTERPRETED:
        yield
        return
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield
