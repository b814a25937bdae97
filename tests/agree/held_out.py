"""The default check measured from outside: kernels that it was not made with, found or not found.

    python -m tests.agree.held_out [NAME ...] [--backend numpy|torch]

Faults of other shapes than those of ``attnbench.agree.mutants``: two features together, a dtype and a threshold, a
kept mask. Besides, sound twins that declare one feature each, none of which may be accused. The status is 1 where a
twin is accused or fewer than 19 of 20 faults are found.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from attnbench.agree.cases.plan import boundary_cases
from attnbench.agree.check.boundaries import judge_case
from attnbench.agree.check.rows import check_implementation
from attnbench.api import Implementation
from attnbench.backends.attend import load_backend
from tests.agree import held_out_numpy, held_out_results
from tests.agree.plain_kernel import Plain

ENOUGH = 0.95


@dataclass(frozen=True)
class HeldOut:
    """A kernel, made anew for each check, and what is wrong with it; nothing if it is ``sound``."""

    says: str
    sound: bool
    make: Callable[[], Implementation]

    @property
    def name(self) -> str:
        """As the check names it."""
        return self.make().name

    def found(self) -> str | None:
        """The first disagreement that the default check comes upon, or ``None``: its rows, then the whole plan."""
        one = self.make()
        backend, dtypes = load_backend(one.backend), one.capabilities.dtypes
        rows = check_implementation(backend, one, dtypes)
        if wrong := next((row for row in rows if row.status == "wrong"), None):
            return f"{wrong.feature} {wrong.dtype}: {wrong.reason} ({wrong.case})"
        results = (judge_case(backend, one, case) for case in boundary_cases(one, dtypes, ()))
        found = next((result for result in results if result.status == "wrong"), None)
        return None if found is None else f"plan: {found.reason} ({found.case})"


def of_numpy() -> list[HeldOut]:
    """Those in NumPy."""
    faulty = (*held_out_numpy.FAULTY, *held_out_results.FAULTY)
    kinds = ((faulty, False), (held_out_numpy.SOUND, True))
    return [HeldOut(_sentence(kernel), sound, _fresh(kernel)) for kernels, sound in kinds for kernel in kernels]


def _fresh(kernel: type[Plain]) -> Callable[[], Implementation]:
    return lambda: kernel().implementation()


def of_torch() -> list[HeldOut]:
    """Those in PyTorch."""
    module = import_module("tests.agree.held_out_torch")
    kinds = ((module.FAULTY, False), (module.SOUND, True))
    return [HeldOut(_sentence(kernel.attend), sound, _same(kernel)) for kernels, sound in kinds for kernel in kernels]


def _same(kernel: Implementation) -> Callable[[], Implementation]:
    return lambda: kernel


def _sentence(of: Any) -> str:
    return " ".join((of.__doc__ or "").split())


BACKENDS: dict[str, Callable[[], list[HeldOut]]] = {"numpy": of_numpy, "torch": of_torch}


def main(arguments: Sequence[str] | None = None) -> int:
    """Check all, or those named, and print a line for each."""
    parser = argparse.ArgumentParser(description="held-out kernels under the default check")
    parser.add_argument("names", nargs="*", help="those alone whose name contains one of these")
    parser.add_argument("--backend", choices=BACKENDS, action="append")
    given = parser.parse_args(arguments)
    kernels = [one for backend in given.backend or BACKENDS for one in BACKENDS[backend]()]
    kernels = [one for one in kernels if not given.names or any(name in one.name for name in given.names)]
    if not kernels:
        parser.error(f"no held-out kernel is named like {' or '.join(given.names)}")
    missed, accused = 0, 0
    for one in kernels:
        start = time.monotonic()
        found = one.found()
        missed, accused = missed + (not one.sound and not found), accused + (one.sound and found is not None)
        word = ("ACCUSED" if found else "agrees") if one.sound else "found" if found else "NOT FOUND"
        text = f"{word:9}  {one.name}  {time.monotonic() - start:.1f} s  {one.says}  {found or ''}"
        print(text.rstrip(), flush=True)  # noqa: T201  (a program's answer)
    faulty = sum(not one.sound for one in kernels)
    print(f"found {faulty - missed} of {faulty} faults; accused {accused} of {len(kernels) - faulty} sound ones")  # noqa: T201
    return int(accused > 0 or faulty - missed < ENOUGH * faulty)


if __name__ == "__main__":
    sys.exit(main())
