"""``attnbench precheck``: what can be known of kernels for a GPU without one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnbench.commands import options
from attnbench.commands.given import check_positive, drop_ins, split
from attnbench.errors import NothingSelectedError, check_known
from attnbench.show.console import document, say, set_quiet, show

NOBODY = "no implementation here claims cuda; name one, or a file of yours: attnbench precheck --impls FILE"


def precheck(
    impls: Annotated[list[str] | None, typer.Argument(metavar="[IMPL]...", help="Names or shell patterns.")] = None,
    *,
    files: options.Files = None,
    arch: options.Architectures = None,
    out: options.PrecheckPage = None,
    timeout: options.KernelTimeout = 300.0,
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
        from attnbench.results.store import check_output

        check_output("--out", out, drop_ins(files))
    names = _names(impls or [], files or [], timeout)
    question = PrecheckQuestion(names, [str(file.resolve()) for file in files or []], archs or ARCHITECTURES, timeout)
    say(f"prechecking {len(names)} implementation{'s' * (len(names) != 1)} for {', '.join(question.archs)}")
    answer = prechecked(question, lambda row: say(line_of(row)))
    if as_json:
        document(answer.to_dict())
    else:
        show(text(answer))
    raise typer.Exit(answer.exit_code)


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
