"""``attnbench semantics``: what each native kernel does by itself."""

from __future__ import annotations

from typing import Annotated

import typer

from attnbench.commands import options
from attnbench.commands.given import check_positive
from attnbench.errors import EXIT_NOTHING_MEASURED, EXIT_OK, check_known
from attnbench.show.console import document, say, set_quiet, show


def semantics(
    backends: Annotated[list[str] | None, typer.Argument(metavar="[BACKEND]...", help="All without a name.")] = None,
    *,
    device: options.Device = "cpu",
    timeout: options.ProbeTimeout = 60.0,
    markdown: options.SemanticsPage = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show what each installed native kernel does by itself in the edge cases."""
    from attnbench.backends import discover
    from attnbench.backends.implementation import DEVICES
    from attnbench.checking.semantics import probe_backends
    from attnbench.commands.semantics_output import as_dict, page, text, versions

    set_quiet(quiet)
    check_known("device", [device], DEVICES)
    check_positive("--timeout", timeout)
    names = [discover.backend(name).name for name in backends or []] or list(discover.backends())
    probed = probe_backends(names, device, timeout, lambda kernel: say(f"probing {kernel}"))
    if as_json:
        document({"device": device, "versions": versions(), "backends": [as_dict(backend) for backend in probed]})
    elif markdown:
        show(page(probed))
    else:
        show("\n\n".join(text(backend) for backend in probed))
    raise typer.Exit(EXIT_OK if any(backend.kernels for backend in probed) else EXIT_NOTHING_MEASURED)
