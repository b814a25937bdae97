"""A table of answers that an engine reads to choose at run time: a case to an implementation, with what it holds for.

A file of JSON (its schema is ``table.json`` beside this module). Reading one imports neither pandas nor a framework:
``table.load(FILE).choose(Hq=32, Hkv=8, Tq=1024, D=128, causal=True)``. What was not measured is refused, unless the
nearest is asked for; the choice says which entry it took.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from attnbench.answers.since import code_since
from attnbench.attention.problem import Case
from attnbench.attention.shapes import PHASES
from attnbench.attention.spec import AttentionSpec
from attnbench.errors import ResultsError, UsageError
from attnbench.results.fingerprint import collect_hardware
from attnbench.results.read import first_fault
from attnbench.results.schema import Fingerprint, Hardware, Record
from attnbench.results.store import write_whole
from attnbench.versions import installed

FORMAT, VERSION = "attnbench-table", 2
# Version 1 had neither ``left_out`` nor what had changed below an entry.
READABLE = (1, 2)
SCHEMA_FILE = Path(__file__).with_name("table.json")
# The sizes of which the nearest may be taken; all else must be the same.
NEARABLE = ("B", "Tq", "S")
EXACT = ("Hq", "Hkv", "D", "Dv", "dtype", "phase", "device", "threads")


class RunnerUp(Record):
    """The next one: how many times as long it takes, with the interval; an end that is not known is null."""

    implementation: str
    ratio: float
    low: float | None = None
    high: float | None = None


class TableCase(Record):
    """A measured case, where it ran and in which run.

    ``spec`` holds what differs from plain attention (causal, window, softcap, scale, …), ``operands`` what the call has
    besides q, k and v. ``phase`` is forward, backward or decode.
    """

    B: int
    Hq: int
    Hkv: int
    Tq: int
    S: int
    D: int
    Dv: int
    dtype: str
    phase: str
    causal: bool
    spec: dict[str, Any]
    operands: tuple[str, ...]
    device: str
    threads: int
    run_id: str
    case: str

    @property
    def label(self) -> str:
        """The case, its device and threads, for people."""
        return f"{self.case} on {self.device}, threads {self.threads}"


class TableEntry(TableCase):
    """A case with its answer: which implementation to take, ``equals`` that are not told from it, and the runner-up.

    ``changed`` says what had changed below them between the run and the day on which the table was made.
    """

    implementation: str
    equals: tuple[str, ...] = ()
    runner_up: RunnerUp | None = None
    time_s: float
    peak_bytes: int | None = None
    changed: str | None = None


class TableGap(TableCase):
    """A case without an answer, and why ``best`` names nobody for it."""

    reason: str


class TableRun(Record):
    """A run that entries rest on: when it began, and the machine, versions and code of that day."""

    started: str
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Choice:
    """What was chosen, by which entry, and whether that is exactly the case; ``says`` is a sentence for a log."""

    implementation: str
    entry: TableEntry
    exact: bool
    says: str


class ChoiceTable(Record):
    """Entries with the machine that they hold for. ``needs`` and ``memory_bytes`` are what every entry fits.

    ``left_out`` are cases that were measured and have no answer.
    """

    format: Literal["attnbench-table"] = "attnbench-table"
    version: Literal[1, 2] = 2
    made: str
    spec_version: str
    machine_id: str
    hardware: Hardware
    needs: tuple[str, ...] = ()
    memory_bytes: int | None = None
    runs: dict[str, TableRun] = Field(default_factory=dict)
    entries: tuple[TableEntry, ...] = ()
    left_out: tuple[TableGap, ...] = ()

    def save(self, file: str | Path) -> Path:
        """Write it as JSON; the path."""
        path = Path(file)
        write_whole(path, json.dumps(self.model_dump(mode="json"), indent=1) + "\n")
        return path

    def why_not_here(self) -> tuple[str, ...]:
        """What is other here and now than where and when it was measured; empty where it holds."""
        hardware = collect_hardware()
        if hardware.id != self.hardware.id:
            return (f"it is of another machine: {self.hardware.cpu_model}, and this is {hardware.cpu_model}",)
        lines = []
        for run_id, run in self.runs.items():
            for package, then in run.fingerprint.packages.items():
                now = installed(package)
                if now != then:
                    lines.append(f"{package} was {then} in run {run_id}, and is {now or 'not installed'} here")
        lines += [line for entry in self.entries for line in self._of_code(entry)]
        return tuple(dict.fromkeys(lines))

    def _of_code(self, entry: TableEntry) -> list[str]:
        """Which code below an entry has changed since its run."""
        run = self.runs.get(entry.run_id)
        changes = [code_since(run.fingerprint, impl) for impl in (entry.implementation, *entry.equals)] if run else []
        return [f"{change.text} (run {entry.run_id})" for change in changes if change and change.known == "changed"]

    def choose(
        self,
        *,
        Hq: int,
        D: int,
        Tq: int | None = None,
        S: int | None = None,
        B: int = 1,
        Hkv: int | None = None,
        Dv: int | None = None,
        dtype: str = "float32",
        phase: str = "forward",
        causal: bool = False,
        window: tuple[int | None, int | None] | None = None,
        softcap: float | None = None,
        scale: float | str | None = None,
        operands: Sequence[str] = (),
        device: str = "cpu",
        threads: int = 1,
        nearest: bool = False,
    ) -> Choice:
        """The implementation for a call with these sizes. Raises ``UsageError`` for what was not measured.

        With ``nearest`` the entry nearest in batch, queries and keys is taken, all else being the same. ``Tq`` is 1 in
        the phase decode; ``S`` is as many as ``Tq`` where it is not given. That keys stand in a cache is not asked.
        """
        phase = PHASES.get(phase, phase)
        queries = Tq if Tq is not None else 1 if phase == "decode" else S
        if queries is None:
            msg = "choose needs Tq=, the number of queries (in the phase decode S=, the number of keys)"
            raise UsageError(msg)
        sizes = {"B": B, "Tq": queries, "S": queries if S is None else S}
        spec = AttentionSpec(causal=causal, window=window, softcap=softcap, scale=scale)
        same = {"Hq": Hq, "Hkv": Hkv or Hq, "D": D, "Dv": Dv or D, "dtype": dtype, "phase": phase}
        same |= {"device": device, "threads": threads}
        alike = [entry for entry in self.entries if _alike(entry, same, spec, operands)]
        said = " ".join(f"{name}={value}" for name, value in (sizes | same | spec.to_dict()).items())
        _refuse_gap([gap for gap in self.left_out if _alike(gap, same, spec, operands)], sizes)
        return _chosen(alike, sizes, said, nearest=nearest)

    def _repr_html_(self) -> str:
        heads = ("case", "device", "threads", "implementation", "equals", "runner-up", "times as long")
        head = "".join(f"<th>{name}</th>" for name in heads)
        rows = ("".join(f"<td>{html.escape(text)}</td>" for text in _shown(entry)) for entry in self.entries)
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _shown(entry: TableEntry) -> tuple[str, ...]:
    after = entry.runner_up
    ratio = ("", "") if after is None else (after.implementation, f"{after.ratio:.3g}")
    return (entry.case, entry.device, str(entry.threads), entry.implementation, ", ".join(entry.equals), *ratio)


def _alike(entry: TableCase, same: Mapping[str, Any], spec: AttentionSpec, operands: Sequence[str]) -> bool:
    besides = {kind for kind in entry.operands if kind != "past"}
    if any(getattr(entry, name) != same[name] for name in EXACT) or besides != {*operands} - {"past"}:
        return False
    return AttentionSpec.from_dict(entry.spec) == spec


def _refuse_gap(alike: Sequence[TableGap], sizes: Mapping[str, int]) -> None:
    """Raise ``UsageError`` for exactly a case that was measured and has no answer."""
    for gap in alike:
        if all(getattr(gap, name) == sizes[name] for name in NEARABLE):
            msg = f"the table has no answer for {gap.label}: {gap.reason}; measure it: attnbench best --measure 5m"
            raise UsageError(msg)


def _chosen(alike: Sequence[TableEntry], sizes: Mapping[str, int], case: str, *, nearest: bool) -> Choice:
    def distance(entry: TableEntry) -> float:
        return sum(abs(math.log(max(getattr(entry, name), 1) / max(sizes[name], 1))) for name in NEARABLE)

    closest = min(alike, key=distance, default=None)
    if closest is None:
        msg = f"the table has no case like {case}; measure it: attnbench best --shape ... --measure 5m"
        raise UsageError(msg)
    if not distance(closest) and all(getattr(closest, name) == sizes[name] for name in NEARABLE):
        return Choice(closest.implementation, closest, exact=True, says=f"exactly {closest.label}{_since(closest)}")
    unlike = [name for name in NEARABLE if getattr(closest, name) != sizes[name]]
    others = ", ".join(f"{name} {getattr(closest, name)}, not {sizes[name]}" for name in unlike)
    if not nearest:
        msg = f"the table has no case of {case}; the nearest is {closest.label} ({others}): nearest=True takes it"
        raise UsageError(msg)
    return Choice(
        closest.implementation, closest, exact=False, says=f"the nearest, {closest.label} ({others}){_since(closest)}"
    )


def _since(entry: TableEntry) -> str:
    return "" if entry.changed is None else f"; since it was measured: {entry.changed}"


def load_table(file: str | Path) -> ChoiceTable:
    """A table from its file. Raises ``ResultsError`` where it is missing, damaged, newer, or none."""
    path = Path(file)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{path} is no table that can be read ({type(error).__name__}); make one: attnbench best --table {path}"
        raise ResultsError(msg) from error
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        msg = f"{path} is no table of attnbench; make one: attnbench best --table FILE"
        raise ResultsError(msg)
    if data.get("version") not in READABLE:
        msg = f"{path} has version {data.get('version')!r} of a table, and this attnbench reads {VERSION}"
        raise ResultsError(msg)
    try:
        return ChoiceTable.model_validate(data)
    except ValidationError as error:
        msg = f"{path} is damaged: {first_fault(error, 'the table')}"
        raise ResultsError(msg) from error


def entry_sizes(case: Case) -> dict[str, Any]:
    """The columns of an entry that describe its case."""
    problem, spec = case.problem, case.spec
    sizes = {name: getattr(problem, name) for name in ("B", "Hq", "Hkv", "Tq", "S", "D", "Dv", "dtype")}
    spec_only = {"spec": spec.to_dict(), "causal": spec.causal, "operands": problem.operands}
    return {**sizes, **spec_only, "phase": case.phase, "case": case.label()}


def schema_text() -> str:
    """The JSON Schema of a table, as the text of ``table.json``."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "attnbench table"}
    return (
        json.dumps({**schema, **ChoiceTable.model_json_schema(mode="serialization")}, indent=1, sort_keys=True) + "\n"
    )


def write_schema(path: Path = SCHEMA_FILE) -> Path:
    """Write the published JSON Schema; a test holds the committed file to it."""
    path.write_text(schema_text(), encoding="utf-8")
    return path
