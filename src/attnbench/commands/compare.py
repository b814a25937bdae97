"""``attnbench compare``: a saved run judged against another."""

from __future__ import annotations

from typing import Annotated

import typer

from attnbench.commands import options
from attnbench.show.console import document, show


def compare(
    base: Annotated[str, typer.Argument(metavar="BASE", help="The run to compare with.")],
    head: Annotated[str, typer.Argument(metavar="HEAD", help="The run to judge.")],
    *,
    margin: options.Margin = "5%",
    as_json: options.Json = False,
) -> None:
    """Judge a saved run against another: slower, same, faster, inconclusive or not comparable."""
    from attnbench.interface.comparison import compare as compared

    judged = compared(base, head, margin=margin)
    if as_json:
        document(judged.describe())
    else:
        show(str(judged))
    raise typer.Exit(judged.exit_code)
