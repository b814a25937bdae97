"""The part about launches in the cases of a suite: for each case the kernels, their grids, and waves on a named GPU."""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from attnbench.backends import discover
from attnbench.precheck.grids.launching import UNSUPPORTED
from attnbench.precheck.grids.waves import per_multiprocessor, waves_of
from attnbench.precheck.kernels import COMPILER, FUSED, TRITON, may_launch
from attnbench.precheck.question import PrecheckQuestion
from attnbench.precheck.rows import PartRow, PrecheckRow, Status
from attnbench.workers.process import Setting
from attnbench.workers.processors import at_once
from attnbench.workers.protocol import Reply
from attnbench.workers.session import Session

PART = "grids"
# Frameworks that tell the grids of their own kernels.
TELLING = ("jax",)
WORST: tuple[Status, ...] = ("lost", "wrong", "unknown")


@dataclass(frozen=True)
class SuiteOnDevice:
    """The cases of a suite, each with a label and as a dictionary, and the GPU that they are counted for."""

    suite: str
    cases: Sequence[tuple[str, str, Mapping[str, Any]]]
    device: str
    arch: str
    multiprocessors: int


def suite_grids(impl: str, question: PrecheckQuestion, stage: SuiteOnDevice) -> Iterator[PrecheckRow]:
    """One row, with every case in its detail; none of an implementation that launches no kernel of its own."""
    backend = impl.partition("/")[0]
    triton = may_launch(impl, question.files)
    if not triton and backend not in TELLING:
        return
    subject = f"suite {stage.suite} on {stage.device}"
    if why := _missing(backend, triton=triton):
        yield PartRow(impl, PART, "unknown", subject, why)
        return
    row = grid_row(impl, subject, stage, _replies(impl, question, stage, triton=triton))
    if row.detail["cases"] or triton:
        yield row


def _missing(backend: str, *, triton: bool) -> str | None:
    if triton and importlib.util.find_spec(TRITON) is None:
        return f"{TRITON} is not installed"
    return discover.backend(backend).why_missing()


def _replies(impl: str, question: PrecheckQuestion, stage: SuiteOnDevice, *, triton: bool) -> list[Reply]:
    """The answer for each case, of several processes at a time."""
    environment = {FUSED: os.environ.get(FUSED, "1"), **COMPILER} if triton else {}
    count = max(1, min(len(stage.cases), at_once(threads=1, most=None)))

    def share(first: int) -> list[Reply]:
        with Session(impl.partition("/")[0], question.timeout_s, Setting(environment=environment)) as session:
            return [
                session.ask(
                    "precheck_grids", impl=impl, files=list(question.files), case=dict(case), triton=triton,
                    arch=stage.arch,
                )
                for _, _, case in stage.cases[first::count]
            ]  # fmt: skip

    with ThreadPoolExecutor(count) as pool:
        shares = list(pool.map(share, range(count)))
    return [shares[number % count][number // count] for number in range(len(stage.cases))]


def grid_row(impl: str, subject: str, stage: SuiteOnDevice, replies: Sequence[Reply]) -> PartRow:
    """The answers as one row. Cases without a launch are left out; those that are not computed count by the reason."""
    cases: list[dict[str, Any]] = []
    not_taken: Counter[str] = Counter()
    worst: dict[Status, str] = {}
    for (case_id, label, _), reply in zip(stage.cases, replies, strict=True):
        answer = reply.value if reply.ok else {"status": "lost", "reason": reply.reason, "launches": []}
        if answer["status"] == UNSUPPORTED:
            not_taken[answer["reason"]] += 1
        elif answer["launches"] or answer["status"] != "ok":
            launches = [_on_device(launch, stage) for launch in answer["launches"]]
            cases.append({"case_id": case_id, "label": label, **answer, "launches": launches})
            worst.setdefault(answer["status"], f"{label}: {answer['reason']}")
    detail = {
        "suite": stage.suite,
        "device": stage.device,
        "arch": stage.arch,
        "multiprocessors": stage.multiprocessors,
        "cases": cases,
        "not_taken": dict(not_taken),
    }
    status: Status = next((status for status in WORST if status in worst), "ok")
    return PartRow(impl, PART, status, subject, worst.get(status) if status != "ok" else _words(detail), detail)


def _on_device(launch: dict[str, Any], stage: SuiteOnDevice) -> dict[str, Any]:
    """The launch with its waves, where it is known how many programs a multiprocessor holds."""
    held = per_multiprocessor(stage.arch, launch["occupancy"], launch["num_warps"])
    waves = None if held is None else waves_of(launch["programs"], held, stage.multiprocessors)
    counted = dict.fromkeys(("per_multiprocessor", "count", "last")) if waves is None else asdict(waves)
    named = {"per_multiprocessor": counted["per_multiprocessor"], "waves": counted["count"]}
    return {**launch, **named, "last_wave": counted["last"]}


def _words(detail: Mapping[str, Any]) -> str:
    cases, rest = detail["cases"], sum(detail["not_taken"].values())
    if not cases:
        first = next(iter(detail["not_taken"]), "")
        return f"none of its {rest} cases is taken: {first}" if rest else "no kernel is told of"
    launches = sum(len(case["launches"]) for case in cases)
    besides = f"; {rest} case{'s are' if rest > 1 else ' is'} not taken" if rest else ""
    return f"{launches} launches in {len(cases)} cases{besides}"
