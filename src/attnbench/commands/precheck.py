"""``attnbench precheck``: what can be known of kernels for a GPU without one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attnbench.commands import options
from attnbench.commands.given import check_positive, drop_ins, split
from attnbench.errors import EXIT_OK, NothingSelectedError, UsageError, check_known
from attnbench.show.console import document, say, set_quiet, show

if TYPE_CHECKING:
    from attnbench.attention.problem import Case
    from attnbench.precheck.parts import Part
    from attnbench.precheck.rows import Prechecked
    from attnbench.tried.code import CodeName

SUITE = "gpu"
FLOOR = "A floor at these rates, where exponentials are left to the special units; no forecast."
NOBODY = "no implementation here claims cuda; name one, or a file of yours: attnbench precheck --impls FILE"


def precheck(
    impls: Annotated[list[str] | None, typer.Argument(metavar="[IMPL]...", help="Names or shell patterns.")] = None,
    *,
    files: options.Files = None,
    arch: options.Architectures = None,
    out: options.PrecheckPage = None,
    timeout: options.KernelTimeout = 300.0,
    roofline: options.Roofline = None,
    launches: options.LaunchesAlone = False,
    record: options.RecordPassed = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compile, interpret and watch kernels for a GPU, on a machine that needs none."""
    from attnbench.precheck.parts import precheck as prechecked
    from attnbench.precheck.question import ARCHITECTURES, PrecheckQuestion
    from attnbench.precheck.shown import line_of, text

    set_quiet(quiet)
    check_positive("--timeout", timeout)
    archs = split(arch)
    check_known("architecture", archs, ARCHITECTURES)
    if out is not None:
        from attnbench.results.extra import check_report_extra
        from attnbench.results.store import check_output

        check_report_extra("attnbench precheck --out")
        check_output("--out", out, drop_ins(files))
    named = bool(impls or files)
    _check_words(launches=launches, roofline=roofline, archs=archs, record=record, page=out is not None, named=named)
    foretold = _foretold(roofline) if roofline is not None else {}
    if roofline is not None and not (named or launches):
        if as_json:
            document({"rows": [], "parts": [], "exit_code": EXIT_OK, **foretold})
        else:
            show(_roofline_text(foretold["roofline"]))
        raise typer.Exit(EXIT_OK)
    names = _names(impls or [], files or [], timeout)
    archs = [foretold["roofline"]["device"]["arch"]] if launches else archs or list(ARCHITECTURES)
    question = PrecheckQuestion(names, [str(file.resolve()) for file in files or []], archs, timeout)
    codes = _codes(names) if record else {}
    say(f"prechecking {len(names)} implementation{'s' * (len(names) != 1)} for {', '.join(question.archs)}")
    answer = prechecked(question, lambda row: say(line_of(row)), **_parts(roofline, alone=launches))
    if out is not None:
        _write(answer, question.archs, out)
    kept = _kept(answer, codes) if record else {}
    if as_json:
        document({**answer.to_dict(), **foretold, **kept})
    else:
        show("\n\n".join([text(answer), *(_roofline_text(value) for value in foretold.values())]))
    raise typer.Exit(answer.exit_code)


def _check_words(
    *, launches: bool, roofline: str | None, archs: Sequence[str], record: bool, page: bool, named: bool
) -> None:
    """Raise ``UsageError`` for options that do not go together."""
    if launches and roofline is None:
        msg = "--launches counts waves on a GPU by name: attnbench precheck triton/flash --launches --roofline H100"
        raise UsageError(msg)
    if launches and archs:
        msg = "--launches compiles for the GPU that --roofline names, and for no other --arch; leave it out"
        raise UsageError(msg)
    if launches and record:
        msg = "--record keeps what a precheck finds, and --launches alone prechecks nothing: leave one of them out"
        raise UsageError(msg)
    if roofline is None or named:
        return
    alone = "--roofline alone prechecks nothing: name implementations too"
    if record:
        msg = f"--record keeps what a precheck finds, and {alone}"
        raise UsageError(msg)
    if page and not launches:
        msg = f"--out writes a page of what a precheck finds, and {alone}"
        raise UsageError(msg)
    if archs:
        msg = f"--arch says for what a precheck compiles, and {alone}"
        raise UsageError(msg)


def _codes(names: Sequence[str]) -> dict[str, CodeName | None]:
    """The names of the code that is about to be prechecked; an error where no record of it could be kept."""
    from attnbench.tried.code import code_of
    from attnbench.tried.keeping import check_keepable

    check_keepable(names)
    return {name: code_of(name) for name in names}


def _kept(answer: Prechecked, codes: dict[str, CodeName | None]) -> dict[str, Any]:
    """What passed, written into the records beside the code; for people at once, and for the document."""
    from attnbench.tried.prechecks import keep_prechecks

    kept = keep_prechecks(answer, codes)
    for line in kept.lines():
        say(line)
    return {"recorded": list(kept.recorded), "not_recorded": kept.left_out, "withdrawn": kept.withdrawn}


def _write(answer: Prechecked, archs: Sequence[str], out: Path) -> None:
    """The page."""
    from attnbench.precheck.shown import remarks, sentence, tables
    from attnbench.report.html.prechecked import prechecked_page
    from attnbench.results.store import write_whole

    write_whole(out, prechecked_page(sentence(answer), archs, tables(answer), remarks(answer)))
    say(f"the page is {out}")


def _foretold(name: str) -> dict[str, Any]:
    """What the peaks of a named GPU leave every case of the suite ``gpu``, for the document."""
    from attnbench.measure.clock.named import foretold, named_device

    device = named_device(name)
    rows = foretold(_suite_cases(), device)
    return {"roofline": {"device": device.to_dict(), "cases": [row.to_dict() for row in rows]}}


def _suite_cases() -> list[tuple[str, Case]]:
    """The cases of the suite ``gpu``, each with its levels as words."""
    from attnbench.backends import discover
    from attnbench.suite.kinds import TimedSuite

    suite = discover.suite(SUITE)
    assert isinstance(suite, TimedSuite)  # noqa: S101  (what it is)
    return [(" ".join(str(level) for level in point.values() if level), case) for point, case in suite.cases()]


def _parts(name: str | None, *, alone: bool) -> dict[str, Sequence[Part]]:
    """With a named GPU the parts as usual and the one that asks what these cases launch there, or this one alone."""
    if name is None:
        return {}
    from functools import partial

    from attnbench.measure.clock.named import named_device
    from attnbench.precheck.grids.suite_grids import SuiteOnDevice, suite_grids
    from attnbench.precheck.parts import PARTS

    device = named_device(name)
    cases = [(case.id, label, case.to_dict()) for label, case in _suite_cases()]
    stage = SuiteOnDevice(SUITE, cases, device.name, device.arch, device.multiprocessors)
    grids = partial(suite_grids, stage=stage)
    return {"parts": (grids,) if alone else (*PARTS, grids)}


def _roofline_text(document_part: dict[str, Any]) -> str:
    """The same as a table."""
    from attnbench.show.console import table
    from attnbench.show.units import seconds

    device, heads = document_part["device"], ("case of suite gpu", "TFLOP", "MB", "FLOP/B", "at least", "by")
    rows = [
        [
            row["label"],
            f"{row['flops'] / 1e12:.3g}",
            f"{row['min_bytes'] / 1e6:.4g}",
            f"{row['intensity']:.3g}",
            seconds(row["least_s"]),
            row["limit"],
        ]
        for row in document_part["cases"]
    ]
    said = f"{device['name']}: {device['model']}, by its data sheet. {FLOOR}"
    return f"{said}\n{table(heads, rows)}\nSource: {device['source']}"


def _names(impls: list[str], files: list[Path], timeout_s: float) -> tuple[str, ...]:
    """The implementations that are named, else those of the files, else all that claim a GPU.

    Whether a framework is installed is not asked here: where it is missing, that is a row.
    """
    from attnbench.backends import discover
    from attnbench.measure.run.plan import names_in

    dropped = names_in([str(file.resolve()) for file in files], timeout_s) if files else ()
    if impls:
        return discover.select(impls, dict.fromkeys((*discover.implementation_names(), *dropped)))
    cards = discover.backends().values()
    running_on = {
        f"{card.name}/{variant}": card.devices.get(variant, ()) for card in cards for variant, _ in card.implementations
    }
    claiming = tuple(name for name, devices in running_on.items() if "cuda" in devices)
    if not (names := dropped or claiming):
        raise NothingSelectedError(NOBODY)
    return names
