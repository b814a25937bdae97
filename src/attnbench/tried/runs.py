"""What run folders and days leave in the records: of each implementation what a GPU computed, and whether it agreed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from attnbench.backends import discover
from attnbench.errors import NothingSelectedError
from attnbench.results.journal import codes_in
from attnbench.results.read import JOURNAL, read_cells, read_info
from attnbench.results.schema import FAILURES, CellResult, RunInfo
from attnbench.tried.code import GPU, CodeName
from attnbench.tried.keeping import Change, check_keepable, keep
from attnbench.tried.record import GpuRun

UNNAMED = "a GPU without a name"
CHECK = "check"
FROM_A_FILE = "it came from a file of your own, and a record stands beside the code of a backend"
UNKNOWN_CODE = "the run does not say which code it ran; measure it again"
NOTHING: tuple[GpuRun, ...] = ()
# The run folders of a day, and what its steps ``check-…`` left, as JUnit XML.
DayFiles = tuple[Sequence[Path], Sequence[Path]]


@dataclass(frozen=True)
class OnGpu:
    """One implementation in one run, or in the checks of a day: ``ok`` and ``failed`` cells or rows, or why not."""

    impl: str
    info: RunInfo
    source: str
    suites: tuple[str, ...]
    ok: int
    failed: int
    why_not: str | None
    code: CodeName | None


@dataclass
class KeptRuns:
    """What is recorded of each implementation, run by run; what is not, with the reason; the files written."""

    recorded: dict[str, list[GpuRun]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people."""
        lines = [
            f"recorded: {name}: {run.device}, {run.ok} ok" + (f", {run.failed} failed" if run.failed else "")
            for name, runs in self.recorded.items()
            for run in reduce(merged, runs, NOTHING)
        ]
        lines += [f"not recorded: {name}: {why}" for name, why in self.left_out.items()]
        return lines + [f"written: {file}" for file in self.files]


def ran_on_gpu(folders: Sequence[Path], days: Sequence[DayFiles] = ()) -> KeptRuns:
    """What there is to record of these runs, and of the checks of these days; nothing is written.

    Raises ``NothingSelectedError`` where nothing was asked of a GPU, and ``UsageError`` where no record can be kept.
    """
    kept = KeptRuns()
    seen = [each for folder in folders for each in _of_run(folder)]
    for runs, checks in days:
        seen += _of_checks(runs, checks, kept)
    if not seen:
        msg = "--record: nothing in these runs was asked of a GPU, so that there is nothing to record"
        raise NothingSelectedError(msg)
    for each in seen:
        if each.why_not is None and each.code is not None:
            kept.recorded.setdefault(each.impl, []).append(_entry(each, each.code))
        else:
            kept.left_out[each.impl] = each.why_not or UNKNOWN_CODE
    kept.left_out = {name: why for name, why in kept.left_out.items() if name not in kept.recorded}
    check_keepable(kept.recorded)
    return kept


def keep_runs(kept: KeptRuns) -> None:
    """Write it into the records."""

    def adding(runs: Sequence[GpuRun]) -> Change:
        return lambda record: replace(record, ran=reduce(merged, runs, record.ran))

    kept.files = keep({impl: adding(runs) for impl, runs in kept.recorded.items()})


def _of_run(folder: Path) -> Iterator[OnGpu]:
    """Each implementation that a run asked of a GPU."""
    info = read_info(folder)
    cells = [cell for cell in read_cells(folder) if cell.device == GPU]
    codes = codes_in(folder / JOURNAL)
    for impl in dict.fromkeys(cell.impl for cell in cells):
        some = [cell for cell in cells if cell.impl == impl]
        good = [cell for cell in some if cell.status == "ok"]
        yield OnGpu(
            impl,
            info,
            info.run_id,
            tuple(dict.fromkeys(cell.suite for cell in good)),
            len(good),
            sum(cell.status in FAILURES for cell in some),
            _why_not(impl, info, some),
            _code(codes.get(impl)),
        )


def _why_not(impl: str, info: RunInfo, cells: Sequence[CellResult]) -> str | None:
    if info.imported is not None:
        return f"{info.imported.tool} measured it, and not attnbench"
    if impl not in discover.implementation_names():
        return FROM_A_FILE
    if not any(cell.status == "ok" for cell in cells):
        reasons = [cell.reason for cell in cells if cell.reason]
        return f"no cell of it is ok on the GPU{f': {reasons[0]}' if reasons else ''}"
    return None


def _of_checks(runs: Sequence[Path], checks: Sequence[Path], kept: KeptRuns) -> Iterator[OnGpu]:
    """Each implementation that a day checked on a GPU; which GPU that is, and which code, the day's runs say."""
    on_gpu = [(folder, info) for folder in runs if GPU in (info := read_info(folder)).devices]
    if not on_gpu:
        return
    folder, info = on_gpu[0]
    codes = codes_in(folder / JOURNAL)
    for file in checks:
        try:
            suites = ET.parse(file).getroot().findall("testsuite")  # noqa: S314  (of a day of one's own)
        except (OSError, ET.ParseError) as error:
            kept.left_out[file.name] = f"it cannot be read: {error}"
            continue
        for suite in suites:
            impl, cases = suite.get("name", ""), [{element.tag for element in case} for case in suite.iter("testcase")]
            failed = sum(bool(tags & {"failure", "error"}) for tags in cases)
            good = sum(not tags & {"failure", "error", "skipped"} for tags in cases)
            announced = impl in discover.implementation_names()
            why = FROM_A_FILE if not announced else None if good else "no row of its check is ok on the GPU"
            source = f"{file.stem} beside {info.run_id}"
            yield OnGpu(impl, info, source, (CHECK,), good, failed, why, _code(codes.get(impl)))


def _code(data: Any) -> CodeName | None:
    """A name of code as a journal holds it; ``None`` for anything else."""
    if not isinstance(data, dict) or set(data) != {"files", "code"} or not all(map(_is_text, data.values())):
        return None
    return CodeName(**data)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _entry(each: OnGpu, code: CodeName) -> GpuRun:
    fingerprint = each.info.fingerprint
    gpus = fingerprint.hardware.gpus
    names, drivers = dict.fromkeys(gpu.name for gpu in gpus), dict.fromkeys(gpu.driver for gpu in gpus if gpu.driver)
    return GpuRun(
        device=" or ".join(names) or UNNAMED,
        date=each.info.started[:10],
        driver=" or ".join(drivers) or "unknown",
        versions=dict(fingerprint.frameworks.get(each.impl.partition("/")[0], {})),
        source=each.source,
        suites=each.suites,
        ok=each.ok,
        failed=each.failed,
        code=code,
    )


def merged(runs: tuple[GpuRun, ...], run: GpuRun) -> tuple[GpuRun, ...]:
    """The runs with one more, the newest first: those of one GPU and one code are one entry, each run counted once."""
    alike = next((each for each in runs if (each.device, each.code) == (run.device, run.code)), None)
    others = [each for each in runs if each is not alike]
    if alike is not None and run.source in alike.source.split(", "):
        run = alike
    elif alike is not None:
        run = replace(
            max(alike, run, key=lambda each: each.date),
            source=f"{alike.source}, {run.source}",
            suites=tuple(dict.fromkeys((*alike.suites, *run.suites))),
            ok=alike.ok + run.ok,
            failed=alike.failed + run.failed,
        )
    return tuple(sorted([*others, run], key=lambda each: each.date, reverse=True))
