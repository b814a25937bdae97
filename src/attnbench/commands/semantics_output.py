"""What ``attnbench semantics`` found, as text, Markdown or JSON."""

from __future__ import annotations

from collections.abc import Sequence

from attnbench.agree.semantics.behaviour import PROBES
from attnbench.agree.semantics.edges import ERROR, Finding
from attnbench.checking.semantics import LOST, Semantics
from attnbench.show import markdown
from attnbench.show.console import table
from attnbench.versions import installed

# Distributions that native kernels come from; those that are installed are named with their versions.
PACKAGES = ("torch", "jax", "keras", "flax", "mlx", "onnx", "onnxruntime", "openvino", "tinygrad")

INTRODUCTION = """\
# What native kernels do by themselves

**The question.** A row that may look at nothing, a mask together with causality, a NaN behind a mask: what does
*this* library's attention do there?

**The short answer.** Something else than the next library. Frameworks agree on attention and differ at its edges. The
tables below say what each entry point does, called as its users call it, with nothing of ours around it.

**An example.** Where every key of a row is masked, PyTorch's SDPA gives 0, and `jax.nn.dot_product_attention` the
mean of all values. A model that is ported from one to the other changes there without an error.

The page is for whoever ports a model, or writes an adapter. An implementation of this project brings such a kernel to
[the spec](spec.md), or declares a feature unsupported; this is what it starts from. There is no verdict here: no
framework promises our spec.

* Every word was found by probing the installed version, one probe at a time in a process of its own.
* *error*: the kernel raises. *CRASHED*: it ends the process. –: there is no such option.
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


def as_dict(probed: Semantics) -> dict[str, object]:
    """JSON-ready."""
    kernels = {
        kernel: {key: finding.to_dict() for key, finding in findings.items()}
        for kernel, findings in probed.kernels.items()
    }
    return {
        "backend": probed.backend,
        "kernels": kernels,
        "not_installed": dict(probed.missing),
        "problem": probed.problem,
    }


def text(probed: Semantics) -> str:
    """One table for each backend, a column for each kernel."""
    lines = [f"{probed.backend}: {probed.problem}"] if probed.problem else []
    if probed.kernels:
        rows = [[title, *(finding.word for finding in findings)] for title, findings in places(probed)]
        lines.append(table([probed.backend, *probed.kernels], rows))
    elif not probed.problem:
        lines.append(f"{probed.backend}: no native kernel here")
    return "\n".join([*lines, *absent(probed)])


def absent(probed: Semantics) -> list[str]:
    """A line for each kernel whose package is not installed."""
    return [f"{kernel}: {requires} is not installed" for kernel, requires in probed.missing.items()]


def places(probed: Semantics) -> list[tuple[str, Sequence[Finding]]]:
    """The rows of a backend's table: titles and findings."""
    return [(probe.title, [findings[probe.key] for findings in probed.kernels.values()]) for probe in PROBES]


def page(probed: Sequence[Semantics]) -> str:
    """The page ``docs/semantics.md``."""
    known = ", ".join(f"{name} {version}" for name, version in versions().items())
    tables = [line for semantics in probed if semantics.kernels for line in markdown_table(semantics)]
    why = markdown.table(("edge", "why"), [(probe.title, probe.why) for probe in PROBES])
    lines = [INTRODUCTION, f"{VERSIONS}{known}.\n", *tables, "## Why it matters\n", why.rstrip()]
    return "\n".join([*lines, "", NOTES.rstrip()])


def markdown_table(probed: Semantics) -> list[str]:
    """The table of a backend in Markdown, with a heading."""
    rows = [(title, *(emphasis(f.word) for f in findings)) for title, findings in places(probed)]
    return [f"## {probed.backend}\n", markdown.table(("edge", *(f"`{kernel}`" for kernel in probed.kernels)), rows)]


def emphasis(word: str) -> str:
    """An error in italics, a lost process in bold."""
    if word == ERROR:
        return f"*{word}*"
    return f"**{word}**" if word in LOST else word
