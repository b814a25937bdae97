"""The catalogue for people: rows of a list, and the page ``docs/shapes.md``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attnbench.attention.shapes import shapes
from attnbench.show import markdown

if TYPE_CHECKING:
    from attnbench.attention.shapes import Shape

HEAD = """# Shapes of real models

**The question.** You serve or train a real model. Which sizes has its attention, and how do you measure just that?

**The short answer.** Name it: `--shape llama-3-8b`. A *shape* is what one attention layer of a model computes: heads,
head sizes, mask, scale and the like. You add how many tokens there are, and whether you prefill, train or decode.

**An example.** Which kernel is the fastest for one new token of Llama 3 8B over 1,024 keys? And how fast are they all?

```bash
attnbench best --measure 5m --shape llama-3-8b --tokens 1024 --phase decode
attnbench run speed --shape llama-3-8b --tokens 1024 --phase decode
```

`attnbench list shapes` prints the table below, with `--json` the fields and sources too. The page is for whoever
[chooses a kernel](best.md). Where figures were read is in [Sources](#sources).

**Your model is not there?** Give its sizes: `h16-4-d128-causal` is 16 query heads of 128 over 4 of keys and values,
causal; `h16-d128` is as many of both, without a mask.

| option | means |
|---|---|
| `--shape NAME` | the heads, sizes, mask, softcap, scale, sinks and bias of a layer; several may be given |
| `--tokens N` | the length of the sequence; several may be given |
| `--batch N` | sequences at once, each with keys of its own |
| `--phase prefill` | a forward pass: N queries over N keys (the phase `forward` of a case) |
| `--phase train` | forward and backward over N tokens (`backward`) |
| `--phase decode` | one new query over N keys, its own among them, the others in a cache (`decode`) |
| `--dtype NAME` | `float64`, `float32`, `bfloat16` or `float16` |

* **Without an option** the levels are those of the suite. Suites with the axes `shape` and `tokens`: `speed`, `memory`,
  `decode` (always decoding), `threads` and `gpu`.
* **The context** is what the model is made for, and no limit: any number of tokens can be asked about. Cross attention
  has its own number of keys.
* **Layers of several kinds** are several shapes, such as `gemma-2-9b/local` and `gemma-2-9b/global`. A window counts
  the keys that a query sees, itself among them: `window 4096` here is `window=(4095, 0)` of the [spec](spec.md).
* **The attention alone**: no projections, no rotary embedding.

This page is written from `src/attnbench/attention/models.toml`, and a test holds it to that file.
"""


def row(shape: Shape) -> dict[str, Any]:
    """One shape as a row: what ``attnbench list shapes`` shows, and with ``--json`` its source as well."""
    return {
        "shape": shape.name,
        "title": shape.title,
        "heads": f"{shape.heads}" if shape.heads == shape.kv_heads else f"{shape.heads}/{shape.kv_heads}",
        "sizes": f"D {shape.head_size}" + (f", Dv {shape.value_size}" if shape.value_size != shape.head_size else ""),
        "mask": _mask(shape),
        "scale": "1/√D" if shape.scale is None else f"{shape.scale:.6g}",
        "besides": _besides(shape),
        "context": shape.context,
        "hidden": shape.hidden,
        "source": shape.source or None,
        "fields": shape.fields or None,
        "read": shape.read or None,
        "note": shape.note or None,
    }


def _mask(shape: Shape) -> str:
    parts = ["causal" if shape.causal else "none"]
    parts += [f"window {shape.window}"] if shape.window else []
    return ", ".join(parts)


def _besides(shape: Shape) -> str:
    parts = [f"softcap {shape.softcap:g}"] if shape.softcap else []
    parts += ["sinks"] if shape.sinks else []
    parts += ["bias of positions"] if shape.bias else []
    parts += [f"{shape.keys} keys"] if shape.keys else []
    return ", ".join(parts)


def page() -> str:
    """The whole of ``docs/shapes.md``."""
    models = [shape for shape in shapes().values() if shape.is_model]
    plain = [shape for shape in shapes().values() if not shape.is_model]
    heads = ("shape", "heads", "sizes", "mask", "scale", "besides", "context")
    parts = [HEAD, "## Models\n", "Heads are query heads, or query heads/heads of keys and values.\n"]
    parts.append(markdown.table(heads, [[_code(shape.name), *_cells(shape, heads[1:])] for shape in models]))
    parts.append("## Sources\n")
    parts.append("Where a figure was not read in the source itself, the entry says where it was.\n")
    parts += [_source(shape) for shape in models]
    parts.append("\n## Plain sizes\n")
    parts.append("Used by suites; not a model's.\n")
    parts.append(markdown.table(("shape", "is"), [[_code(shape.name), shape.title] for shape in plain]))
    return "\n".join(parts).rstrip() + "\n"


def _cells(shape: Shape, names: tuple[str, ...]) -> list[str]:
    texts = row(shape)
    return [str(texts[name] or "") for name in names]


def _code(text: str) -> str:
    return f"`{text}`"


def _source(shape: Shape) -> str:
    """One item of the list of sources."""
    text = f"- `{shape.name}` ({shape.title}): <{shape.source}>: {shape.fields}."
    text += f" Read in: {shape.read}." if shape.read else ""
    return text + (f" Note: {shape.note}." if shape.note else "")
