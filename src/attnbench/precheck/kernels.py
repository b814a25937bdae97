"""The part for kernels in Triton, asked of workers: what is launched, as machine code and in the interpreter."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from attnbench.backends import discover
from attnbench.errors import pip_install
from attnbench.precheck.interpreter_rows import interpreter_rows, offset_rows, unasked_rows
from attnbench.precheck.machine_rows import machine_rows
from attnbench.precheck.question import PrecheckQuestion
from attnbench.precheck.rows import KernelRow, PartRow, PrecheckRow
from attnbench.workers.process import Setting
from attnbench.workers.processors import at_once
from attnbench.workers.protocol import TIMEOUT, UNSUPPORTED, Reply
from attnbench.workers.session import Session

TRITON = "triton"
# The two modes of Triton, each in processes of its own; fused multiply-adds are what a GPU does.
COMPILER = {"TRITON_INTERPRET": "0"}
INTERPRETER = {"TRITON_INTERPRET": "1"}
FUSED = "TRITON_DEFAULT_FP_FUSION"
DTYPES = ("float16", "bfloat16", "float32")

NO_CASE = "it claims none of the sizes and dtypes that a precheck compiles"
NOT_LAUNCHED = "no call launched it: something else gave the answers, or nothing did"

MOST_HANGING = 2  # of each process

Part = TypeVar("Part")


def triton_kernels(impl: str, question: PrecheckQuestion) -> Iterator[PrecheckRow]:
    """Rows about every kernel of Triton's that an implementation launches; none where it launches none."""
    if not may_launch(impl, question.files):
        return
    if importlib.util.find_spec(TRITON) is None:
        reason = f"{TRITON} is not installed: {pip_install(TRITON, TRITON)}"
        yield from (KernelRow(impl, None, arch, "unknown", compiled=False, reason=reason) for arch in question.archs)
        return
    if missing := discover.backend(impl.partition("/")[0]).why_missing():
        yield PartRow(impl, "launches", "unknown", reason=missing)
        return
    compiled = _machine_code(impl, question)
    rows = machine_rows(impl, compiled)
    yield from rows
    if any(isinstance(row, KernelRow) for row in rows):
        yield from _in_the_interpreter(impl, question)
    else:
        yield from _never_launched(impl, compiled)


def _never_launched(impl: str, compiled: Sequence[tuple[str, str, Reply]]) -> Iterator[PrecheckRow]:
    """Kernels that an implementation could launch, of which no call did; one row without any call."""
    answers = [(arch, reply.value) for arch, _, reply in compiled if reply.ok]
    called = any(value["cases"] for _, value in answers)
    why = NOT_LAUNCHED if called else NO_CASE
    by_arch = dict.fromkeys((arch, name) for arch, value in answers for name in value["kernels"])
    yield from (KernelRow(impl, name, arch, "unknown", compiled=False, reason=why) for arch, name in by_arch)
    if answers and not called and not by_arch:
        yield PartRow(impl, "launches", "unknown", reason=NO_CASE)


def may_launch(impl: str, files: Sequence[str]) -> bool:
    """Whether it is worth asking: of what is announced, a backend of Triton's; of files, those that name Triton."""
    card = discover.backend(impl.partition("/")[0])
    if impl in discover.implementation_names():
        return TRITON in (card.requires, *card.also)
    paths = [file for path in map(Path, files) for file in ([path] if path.is_file() else sorted(path.glob("*.py")))]
    return any(TRITON in file.read_text("utf-8", "replace") for file in paths)


def _machine_code(impl: str, question: PrecheckQuestion) -> list[tuple[str, str, Reply]]:
    """For every architecture and dtype what a worker answers."""
    pairs = [(arch, dtype) for arch in question.archs for dtype in DTYPES]

    def ask(session: Session, pair: tuple[str, str]) -> Reply:
        return session.ask("precheck_machine", impl=impl, files=list(question.files), arch=pair[0], dtype=pair[1])

    replies = _asked(impl, question, COMPILER, pairs, ask)
    return [(arch, dtype, reply) for (arch, dtype), reply in zip(pairs, replies, strict=True)]


def _in_the_interpreter(impl: str, question: PrecheckQuestion) -> Iterator[PrecheckRow]:
    """Numbers and memory of every case, and addresses of large calls."""
    files = list(question.files)
    with _session(impl, question, INTERPRETER) as session:
        plan = session.ask("precheck_cases", impl=impl, files=files, archs=list(question.archs))
    if not plan.ok:
        yield PartRow(impl, "numerics", "lost", reason=plan.reason)
        return
    cases: list[dict[str, Any]] = plan.value["cases"]
    if not cases:
        yield PartRow(impl, "numerics", "unknown", reason=plan.value["why"])
        yield PartRow(impl, "memory", "unknown", reason=plan.value["why"])

    def ask(session: Session, case: dict[str, Any]) -> Reply:
        fields = {name: case[name] for name in ("case", "orders", "arch")}
        return session.ask("precheck_case", impl=impl, files=files, **fields)

    yield from unasked_rows(impl, plan.value["unasked"])
    yield from interpreter_rows(impl, cases, _asked(impl, question, INTERPRETER, cases, ask), plan.value["left_out"])
    large: list[dict[str, Any]] = plan.value["large"]

    def ask_large(session: Session, call: dict[str, Any]) -> Reply:
        return session.ask("precheck_offsets", impl=impl, files=files, call=call)

    yield from offset_rows(impl, large, _asked(impl, question, INTERPRETER, large, ask_large))


def _session(impl: str, question: PrecheckQuestion, mode: dict[str, str]) -> Session:
    environment = {FUSED: os.environ.get(FUSED, "1"), **mode}
    return Session(impl.partition("/")[0], question.timeout_s, Setting(environment=environment))


def _until_it_hangs(ask: Callable[[Part], Reply], parts: Sequence[Part], timeout_s: float) -> list[Reply]:
    """The answers; none to what comes after so many questions that took too long that the others would as well."""
    replies: list[Reply] = []
    for part in parts:
        if sum(reply.status == TIMEOUT for reply in replies) < MOST_HANGING:
            replies.append(ask(part))
        else:
            reason = f"not tried: {MOST_HANGING} calls before it took more than {timeout_s:g} s each (--timeout)"
            replies.append(Reply(0, UNSUPPORTED, reason))
    return replies


def _asked(
    impl: str,
    question: PrecheckQuestion,
    mode: dict[str, str],
    parts: Sequence[Part],
    ask: Callable[[Session, Part], Reply],
) -> list[Reply]:
    """The answers in order, of several processes at a time, each for its share of the questions."""
    count = min(len(parts), at_once(threads=1, most=None))

    def share(first: int) -> list[Reply]:
        with _session(impl, question, mode) as session:
            return _until_it_hangs(partial(ask, session), parts[first::count], question.timeout_s)

    with ThreadPoolExecutor(max(count, 1)) as pool:
        shares = list(pool.map(share, range(count)))
    return [shares[number % count][number // count] for number in range(len(parts))]
