"""What ``attnbench semantics`` found, as text, Markdown or JSON."""

from __future__ import annotations

from collections.abc import Sequence

from attnbench.agree.semantics.behaviour import PROBES
from attnbench.agree.semantics.edges import ERROR, Finding
from attnbench.checking.semantics import LOST, Semantics
from attnbench.commands.list_ import installed
from attnbench.show import markdown
from attnbench.show.console import table

# Distributions that native kernels come from; those that are installed are named with their versions.
PACKAGES = ("torch", "jax", "keras", "flax", "onnx", "onnxruntime")

INTRODUCTION = """\
# What native kernels do by themselves

Frameworks agree on attention and differ at its edges. This page shows what each native entry point does there, called
as its users call it, with nothing of ours around it: an implementation of this project brings such a kernel to
[the spec](spec.md) or declares a feature unsupported, and this is what it starts from. Every word was found by probing
the installed version, one probe at a time in a process of its own; where a kernel raises, the word is *error*, where it
ends the process, *CRASHED*. – says that there is no such option. There is no verdict here: no framework promises our
spec.
"""
VERSIONS = "Versions: "
NOTES = """\
`attnbench semantics --markdown` writes this page, `--device cuda` probes the kernels of the GPU, and `--json` has the
error messages and the numbers behind the words. JAX runs with `jax_enable_x64` for float64 alone.
`nn.MultiheadAttention` has identities for its projections. The lse of the CPU flash kernel is that of the operator
below the public function, which drops it.
"""


def versions() -> dict[str, str]:
    """The installed packages that native kernels come from; without the build's local label."""
    return {name: version.partition("+")[0] for name in PACKAGES if (version := installed(name))}


def as_dict(one: Semantics) -> dict[str, object]:
    """JSON-ready."""
    kernels = {
        kernel: {key: finding.to_dict() for key, finding in found.items()} for kernel, found in one.kernels.items()
    }
    return {"backend": one.backend, "kernels": kernels, "not_installed": dict(one.missing), "problem": one.problem}


def text(one: Semantics) -> str:
    """One table for each backend, a column for each kernel."""
    lines = [f"{one.backend}: {one.problem}"] if one.problem else []
    if one.kernels:
        rows = [[title, *(finding.word for finding in found)] for title, found in places(one)]
        lines.append(table([one.backend, *one.kernels], rows))
    elif not one.problem:
        lines.append(f"{one.backend}: no native kernel here")
    return "\n".join([*lines, *absent(one)])


def absent(one: Semantics) -> list[str]:
    """A line for each kernel whose package is not installed."""
    return [f"{kernel}: {requires} is not installed" for kernel, requires in one.missing.items()]


def places(one: Semantics) -> list[tuple[str, Sequence[Finding]]]:
    """The rows of a backend's table: titles and findings."""
    return [(probe.title, [found[probe.key] for found in one.kernels.values()]) for probe in PROBES]


def page(found: Sequence[Semantics]) -> str:
    """The page ``docs/semantics.md``."""
    known = ", ".join(f"{name} {version}" for name, version in versions().items())
    tables = [line for one in found if one.kernels for line in markdown_table(one)]
    why = markdown.table(("edge", "why"), [(probe.title, probe.why) for probe in PROBES])
    lines = [INTRODUCTION, f"{VERSIONS}{known}.\n", *tables, "## Why it matters\n", why.rstrip()]
    return "\n".join([*lines, "", NOTES.rstrip()])


def markdown_table(one: Semantics) -> list[str]:
    """The table of a backend in Markdown, with a heading."""
    rows = [(title, *(emphasis(f.word) for f in found)) for title, found in places(one)]
    return [f"## {one.backend}\n", markdown.table(("edge", *(f"`{kernel}`" for kernel in one.kernels)), rows)]


def emphasis(word: str) -> str:
    """An error in italics, a lost process in bold."""
    if word == ERROR:
        return f"*{word}*"
    return f"**{word}**" if word in LOST else word
