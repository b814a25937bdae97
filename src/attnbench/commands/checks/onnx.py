"""``attnbench check --onnx``: conformance to ONNX's Attention operator, as a table of counts with reasons."""

from __future__ import annotations

from importlib.metadata import version

from attnbench.interface.checks.nodes import checked_nodes, exit_of_nodes, report, summary
from attnbench.interface.checks.where import Where
from attnbench.show.console import document, say, show


def check_onnx_nodes(where: Where, random: int, seed: int, *, as_json: bool) -> int:
    """Check, show, and return the exit status: 1 for a disagreement, 5 if nothing was compared."""
    rows = checked_nodes(where, "attnbench check --onnx", random, seed, say)
    code = exit_of_nodes(rows)
    if as_json:
        parts = {"exit_code": code, "onnx": version("onnx"), "summary": summary(rows)}
        document(parts | {"rows": [row.to_dict() for row in rows]})
    else:
        show(report(rows))
    return code
