"""Blocks in which a case was measured: which of them an answer rests on, and which cases near it were measured.

An answer rests on one block, for cells of two blocks were measured at two times. The one is taken that measured most
implementations as they are now (nothing below them has changed), then most of all, then the newest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from attnbench.analysis.leading import lead
from attnbench.answers.question import WhichOne
from attnbench.answers.saved import MeasuredRun
from attnbench.answers.since import Since, since
from attnbench.attention.problem import Case
from attnbench.attention.shapes import PHASE_WORDS, shape
from attnbench.errors import AttnbenchError
from attnbench.results.frames import POINT, own_columns, records

if TYPE_CHECKING:
    import pandas as pd

NEAREST = 3
# Sizes in words; those that belong together differ together.
SIZES = {"batch": ("B",), "heads": ("Hq", "Hkv"), "queries/keys": ("Tq", "S"), "head size": ("D", "Dv")}


@dataclass(frozen=True)
class CaseBlock:
    """The rows of one case in one block of a run: one for each implementation."""

    run: MeasuredRun
    rows: pd.DataFrame

    @cached_property
    def changed(self) -> Mapping[str, Since]:
        """What changed since the run below each implementation that has a time, where something did.

        What is installed here says nothing of another machine.
        """
        if not self.run.is_here:
            return {}
        names = [str(name) for name in self.rows[self.rows["status"] == "ok"]["impl"]]
        return {name: change for name in names if (change := since(self.run.info.fingerprint, name)) is not None}

    def sampled(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Some of its rows, with their rounds."""
        return self.run.sampled.loc[rows.index]

    @property
    def suite(self) -> str:
        """The suite that measured it."""
        return str(self.rows["suite"].iloc[0])

    @property
    def measured(self) -> int:
        """How many implementations have a time."""
        return int((self.rows["status"] == "ok").sum())

    @property
    def point(self) -> dict[str, Any]:
        """The levels of the suite's axes."""
        row = records(own_columns(self.rows.iloc[:1]))[0]
        return {str(name).removeprefix(POINT): level for name, level in row.items() if str(name).startswith(POINT)}

    def rank(self) -> tuple[int, int, str]:
        """What the choice of a block goes by; the largest is taken."""
        ok = self.rows[self.rows["status"] == "ok"]
        other = sum(change.known == "changed" for change in self.changed.values())
        return len(ok) - other, len(ok), self.run.info.started


@cache
def case_of(text: str) -> Case | None:
    """The case of a row; ``None`` where it is none that this version knows."""
    try:
        return Case.from_dict(json.loads(text))
    except (AttnbenchError, ValueError, TypeError):
        return None


def blocks(runs: Iterable[MeasuredRun]) -> Iterator[CaseBlock]:
    """Every case of every block of these runs, on each device and with each number of threads."""
    for run in runs:
        rows = run.rows[run.rows["case"].notna()]
        for _, part in rows.groupby(["block_id", "case", "device", "threads"], sort=False):
            yield CaseBlock(run, part)


def holding(question: WhichOne, every: Iterable[CaseBlock]) -> list[CaseBlock]:
    """The blocks of exactly this case, device and threads, the one that an answer rests on first."""
    wanted = question.case.id
    fitting = []
    for block in every:
        first = block.rows.iloc[0]
        case = case_of(str(first["case"]))
        where = (str(first["device"]), int(first["threads"])) == (question.device, question.threads)
        if where and case is not None and case.id == wanted:
            fitting.append(block)
    return sorted(fitting, key=CaseBlock.rank, reverse=True)


@dataclass(frozen=True)
class NearCase:
    """A case near the one that was asked about: what is other in it, and which run measured it."""

    label: str
    device: str
    threads: int
    differs: str
    run_id: str
    fastest: str
    typed: str | None


def near(question: WhichOne, every: Iterable[CaseBlock], most: int = NEAREST) -> list[NearCase]:
    """Measured cases that differ from the question, the nearest first: by how much is other, then by the sizes."""
    ranked: dict[tuple[str, str, int], tuple[tuple[int, float], NearCase, CaseBlock]] = {}
    for block in every:
        first = block.rows.iloc[0]
        case = case_of(str(first["case"]))
        if case is None or not block.measured:
            continue
        where = (str(first["device"]), int(first["threads"]))
        differing = _differing(question, case, *where)
        key = (case.id, *where)
        if differing and key not in ranked:
            said = ", ".join(f"{name} {there}, not {wanted}" for name, wanted, there in differing)
            neighbour = NearCase(case.label(), *where, said, block.run.info.run_id, "", _typed(question, case, *where))
            ranked[key] = ((len(differing), _distance(question, case)), neighbour, block)
    nearest = sorted(ranked.values(), key=lambda pair: pair[0])[:most]
    return [replace(case, fastest=_fastest(block)) for _, case, block in nearest]


def _fastest(block: CaseBlock) -> str:
    """Who leads a block, by the rounds that its cells were in together."""
    return lead(block.sampled(block.rows[block.rows["status"] == "ok"])).first


def _differing(question: WhichOne, case: Case, device: str, threads: int) -> list[tuple[str, Any, Any]]:
    """What is other in a case: its name, what was wanted, and what is there."""
    wanted = question.case
    pairs = [("phase", wanted.phase, case.phase), ("dtype", wanted.problem.dtype, case.problem.dtype)]
    pairs += [(name, _size(wanted, names), _size(case, names)) for name, names in SIZES.items()]
    pairs += [("device", question.device, device), ("threads", str(question.threads), str(threads))]
    pairs += [("mask, scale and operands", _besides(wanted), _besides(case))]
    return [pair for pair in pairs if pair[1] != pair[2]]


def _size(case: Case, names: tuple[str, ...]) -> str:
    """Sizes that belong together, such as ``32/8`` heads; one number where they are alike."""
    sizes = [str(getattr(case.problem, name)) for name in names]
    return "/".join(dict.fromkeys(sizes))


def _besides(case: Case) -> str:
    spec = " ".join(f"{name}={value}" if value is not True else name for name, value in case.spec.to_dict().items())
    unequal = "sequences of unequal lengths" if case.problem.sequences else ""
    return " ".join(filter(None, (spec, *case.problem.operands, unequal))) or "none"


def _distance(question: WhichOne, case: Case) -> float:
    wanted, there = question.case.problem, case.problem
    names = [name for together in SIZES.values() for name in together]
    return sum(abs(math.log(max(getattr(wanted, name), 1) / max(getattr(there, name), 1))) for name in names)


def _typed(question: WhichOne, case: Case, device: str, threads: int) -> str | None:
    """The command that asks about a case, where there are words for it: those of a plain shape, or of the question."""
    problem = case.problem
    heads = f"h{problem.Hq}" if problem.Hq == problem.Hkv else f"h{problem.Hq}-{problem.Hkv}"
    plain = f"{heads}-d{problem.D}" + ("-causal" if case.spec.causal else "")
    sizes: dict[str, Any] = {"phase": PHASE_WORDS[case.phase], "batch": problem.B, "dtype": problem.dtype}
    for name in (question.shape, plain):
        try:
            same = shape(name).case(problem.S, **sizes).id == case.id
        except AttnbenchError:
            same = False
        if same:
            where: dict[str, Any] = {"device": device, "threads": threads}
            return f"attnbench best {question.typed(shape=name, tokens=problem.S, **where, **sizes)}"
    return None
