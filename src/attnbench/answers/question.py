"""What is asked: a case by its shape, tokens, batch, phase and dtype, where it runs, and what an answer must fit.

Given in the words of the command line or as values; what is none of them is one line that says what is possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from attnbench.attention.precision import DTYPES
from attnbench.attention.problem import Case
from attnbench.attention.shapes import PHASE_WORDS, PHASES, shape
from attnbench.backends.implementation import DEVICES, FEATURES
from attnbench.errors import UsageError, check_known
from attnbench.show import units
from attnbench.suite import SIZE
from attnbench.suite.levels import LevelError
from attnbench.suite.written import exact

# The timed suite whose axes are the words of a question, so that any of them can be measured by it.
SUITE = "speed"
AXES = ("shape", "tokens", "phase", "dtype", "batch")


@dataclass(frozen=True)
class Wanted:
    """What an answer must fit: a device, capabilities by name, and a bound for its peak memory in bytes."""

    device: str = "cpu"
    needs: tuple[str, ...] = ()
    memory_bytes: int | None = None


def wanted(device: str = "cpu", needs: Sequence[str] = (), memory: int | str | None = None) -> Wanted:
    """The same in the words of the command line. Raises ``UsageError``."""
    check_known("--device", [device], DEVICES)
    check_known("--needs", needs, FEATURES)
    return Wanted(device, tuple(dict.fromkeys(needs)), None if memory is None else bytes_of(memory))


@dataclass(frozen=True)
class WhichOne:
    """One case on one device with so many threads, and what an answer must fit.

    ``phase`` is prefill, train or decode.
    """

    shape: str
    tokens: int
    batch: int = 1
    phase: str = "prefill"
    dtype: str = "float32"
    threads: int = 1
    wanted: Wanted = Wanted()

    @property
    def device(self) -> str:
        """Where it runs."""
        return self.wanted.device

    @cached_property
    def case(self) -> Case:
        """The case that is asked about."""
        return shape(self.shape).case(self.tokens, phase=self.phase, batch=self.batch, dtype=self.dtype)

    @property
    def sentence(self) -> str:
        """Such as ``llama-3-8b, 4096 tokens, decode, float32, on cpu with 1 thread``."""
        batch = "" if self.batch == 1 else f", batch {self.batch}"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        what = f"{self.shape}, {self.tokens} tokens{batch}, {self.phase}, {self.dtype}"
        return f"{what}, on {self.device} with {threads}{self._besides()}"

    def _besides(self) -> str:
        needs, memory = self.wanted.needs, self.wanted.memory_bytes
        within = "" if memory is None else f", within {units.size(memory)}"
        return (f", with {', '.join(needs)}" if needs else "") + within

    def levels(self) -> dict[str, Any]:
        """The level of every axis of the suite that can measure it."""
        return {axis: getattr(self, axis) for axis in AXES}

    def typed(self, **others: Any) -> str:
        """The options of ``attnbench best`` that ask this, with some of them replaced."""
        given = {**self.levels(), **others}
        usual = {"phase": "prefill", "dtype": "float32", "batch": 1}
        words = [f"--{axis} {given[axis]}" for axis in AXES if given[axis] != usual.get(axis)]
        device = others.get("device", self.device)
        words += [f"--device {device}"] if device != "cpu" else []
        threads = others.get("threads", self.threads)
        words += [f"--threads {threads}"] if threads != 1 else []
        needs, memory = self.wanted.needs, self.wanted.memory_bytes
        words += [f"--needs {','.join(needs)}"] if needs else []
        words += [f"--memory {memory}"] if memory is not None else []
        return " ".join(words)

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        where = {"device": self.device, "threads": self.threads}
        fits = {"needs": list(self.wanted.needs), "memory_bytes": self.wanted.memory_bytes}
        return {**self.levels(), **where, **fits, "case": self.case.label(), "case_id": self.case.id}


def question(
    shape_name: str | None,
    tokens: int | str | None,
    *,
    batch: int | str = 1,
    phase: str = "prefill",
    dtype: str = "float32",
    device: str = "cpu",
    threads: int | None = None,
    needs: Sequence[str] = (),
    memory: int | str | None = None,
) -> WhichOne:
    """A question in the words of ``attnbench run``. Raises ``UsageError``."""
    if shape_name is None or tokens is None:
        missing = " and ".join(name for name, given in (("--shape", shape_name), ("--tokens", tokens)) if given is None)
        typed = "attnbench best --shape llama-3-8b --tokens 4096 --phase decode"
        msg = f"{missing}: say for which shape and how many tokens, such as: {typed}"
        raise UsageError(msg)
    shape(shape_name)
    word = PHASE_WORDS.get(phase, phase)
    check_known("--phase", [word], tuple(PHASES))
    check_known("--dtype", [dtype], DTYPES)
    if threads is not None and threads < 1:
        msg = f"--threads is 1 or more; got {threads}"
        raise UsageError(msg)
    return WhichOne(
        shape_name,
        count("tokens", tokens),
        count("batch", batch),
        word,
        dtype,
        threads or 1,
        wanted(device, needs, memory),
    )


def count(name: str, given: int | str) -> int:
    """A number of tokens or of sequences. Raises ``UsageError``."""
    try:
        return SIZE.read(str(given))
    except LevelError:
        msg = f"--{name} is 1 or more, up to 2**30, such as 512, 4Ki (4096) or 128k (128,000); got {given!r}"
        raise UsageError(msg) from None


def bytes_of(given: int | str) -> int:
    """A number of bytes such as ``2GiB``, ``500MB`` or ``1000``. Raises ``UsageError``."""
    text = str(given).strip()
    try:
        value = int(exact(text.removesuffix("B").strip()))
    except ValueError:
        value = 0
    if value < 1:
        msg = f"--memory is a number of bytes of 1 or more, such as 2GiB, 500MB or 1000000; got {text!r}"
        raise UsageError(msg)
    return value
