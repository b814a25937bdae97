"""Saved runs that an answer may rest on: those of one machine, which is this one unless runs are named.

The others are left out, each with its reason.

A time says nothing of another machine, and what another tool measured nobody here held to the oracle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench.analysis.sampled import with_rounds
from attnbench.attention.spec import SPEC_VERSION
from attnbench.errors import ResultsError
from attnbench.results.dataset import plain as load
from attnbench.results.fingerprint import collect_hardware, machine_names, machine_of
from attnbench.results.read import Runs, find_runs, read_info
from attnbench.results.schema import Hardware, RunInfo
from attnbench.show import units

if TYPE_CHECKING:
    import pandas as pd

USUAL = "results"
NAMED = 3


@dataclass(frozen=True)
class MeasuredRun:
    """A saved run: its folder, what it says of itself, its rows, and whether this machine made it."""

    folder: Path
    info: RunInfo
    is_here: bool = True

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The rows of cells that were to be timed."""
        frame = load(self.folder)
        return frame[frame["kind"] == "timed"]

    @cached_property
    def sampled(self) -> pd.DataFrame:
        """The same rows with their rounds."""
        return with_rounds(self.rows, self.folder)

    @property
    def day(self) -> str:
        """The day on which it began, in UTC."""
        return self.info.started[:10]


@dataclass(frozen=True)
class RunsHere:
    """The runs of a machine, the newest first, and a line for each that is left out."""

    runs: tuple[MeasuredRun, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class AskedMachine:
    """A machine that is asked: its hardware, its name unless it is this one alone, and ``others`` that are asked, too.

    ``is_here`` says whether it is the one that asks. ``key`` and those of ``others`` are machines as ``compare`` and
    ``dispatch merge`` tell them apart; one that is asked without runs goes by its hardware and has none.
    """

    hardware: Hardware
    name: str | None = None
    is_here: bool = True
    others: frozenset[str] = frozenset()
    key: str | None = None


def machines_of(runs: Runs | None) -> list[AskedMachine]:
    """The machines of the runs that are named, this one first; without runs, and where none is known, this one alone.

    Raises ``ResultsError`` for a run that is named and is none.
    """
    this = collect_hardware()
    if runs is None:
        return [AskedMachine(this)]
    infos = sorted((read_info(folder) for folder in find_runs(runs)), key=lambda info: info.started)
    newest = {_key(info): info.fingerprint for info in infos if info.imported is None}
    keys = sorted(newest, key=lambda key: newest[key].machine_id != this.id)
    if not keys or (len(keys) == 1 and newest[keys[0]].machine_id == this.id):
        return [AskedMachine(this)]
    names = machine_names([newest[key] for key in keys])
    return [
        AskedMachine(newest[key].hardware, name, newest[key].machine_id == this.id, frozenset(keys) - {key}, key)
        for key, name in zip(keys, names, strict=True)
    ]


def _key(info: RunInfo) -> str:
    """The machine of a run, whatever version of the specification: what an older one measured is left out by name."""
    return machine_of(info.fingerprint.model_copy(update={"spec_version": SPEC_VERSION}))


def gathered(runs: Runs | None = None, machine: AskedMachine | None = None) -> RunsHere:
    """The runs that are named, or all in ``results/``. Raises ``ResultsError`` for one that is named and is none.

    In ``results/`` a damaged run is left out with its reason, and no run at all is no error.
    """
    if runs is None and not Path(USUAL).is_dir():
        return RunsHere(())
    place = machine or AskedMachine(collect_hardware())
    kept: list[MeasuredRun] = []
    passed: dict[str, list[str]] = {}
    for folder in _folders(runs):
        try:
            run = MeasuredRun(folder, read_info(folder), place.is_here)
            if run.info.imported is None and _key(run.info) in place.others:
                continue  # it is in the answer of its own machine
            why = _why_not(run.info, place.hardware)
            kept += [run] if why is None and len(run.rows) else []
        except ResultsError as error:
            if runs is not None:
                raise
            why = str(error)
        if why is not None:
            passed.setdefault(why, []).append(folder.name)
    lines = tuple(_line(names, why) for why, names in passed.items())
    return RunsHere(tuple(sorted(kept, key=lambda run: run.info.started, reverse=True)), lines)


def _line(names: Sequence[str], why: str) -> str:
    """What was passed over and why, in one line for all runs of one reason."""
    return f"{units.some(names, NAMED)}: {why}"


def _folders(runs: Runs | None) -> Iterable[Path]:
    if runs is not None:
        return find_runs(runs)
    try:
        return find_runs(USUAL)
    except ResultsError:
        return []


def _why_not(info: RunInfo, machine: Hardware) -> str | None:
    """Why no answer can rest on a run; ``None`` where one can."""
    if info.imported is not None:
        return f"{info.imported.tool} measured it, and nobody held its answers to the oracle"
    there, version = info.fingerprint.hardware, info.fingerprint.spec_version
    if there.id == machine.id:
        other = f"measured by version {version} of the specification, and this is version {SPEC_VERSION}"
        return None if version == SPEC_VERSION else other
    which = f"{there.cpu_model or 'an unknown processor'}, {there.logical_cores or '?'} processors"
    return f"measured on another machine ({which}), whose times say nothing of this one"
