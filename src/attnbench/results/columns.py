"""What the columns of a frame mean: for each its unit and a sentence, and its type in pandas.

``docs/results.md`` shows them; a test holds them to the schema, so that no column goes without a word.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attnbench.results.schema import CellResult, Record, Sample

if TYPE_CHECKING:
    import pandas as pd

ONE, SECONDS, BYTES, TEXT, COUNT = "ratio", "s", "bytes", "", "count"
TOKENS = "tokens"

CELLS: Mapping[str, tuple[str, str]] = {
    "run_id": (TEXT, "the run, by the name of its folder"),
    "suite": (TEXT, "the question that it belongs to"),
    "cell_id": (TEXT, "this cell: case × implementation × device × threads; the same in every run"),
    "case_id": (TEXT, "the case; the same in every run and for every implementation"),
    "block_id": (TEXT, "cells of one block stood beside each other, and are to be compared with each other"),
    "case_label": (TEXT, "the case in words"),
    "kind": (TEXT, "`timed`, or `observed` (an ablation's numbers, in `metric.<name>`)"),
    "impl": (TEXT, "the implementation, such as `torch/sdpa`"),
    "backend": (TEXT, "the part of `impl` before the slash"),
    "variant": (TEXT, "the part of `impl` after the slash"),
    "device": (TEXT, "`cpu` or `cuda`"),
    "threads": (COUNT, "threads that it computed with"),
    "phase": (TEXT, "`forward`, `backward` (forward and backward) or `decode`"),
    "dtype": (TEXT, "the dtype of q, k and v"),
    "B": (COUNT, "batch entries"),
    "Hq": (COUNT, "query heads"),
    "Hkv": (COUNT, "key/value heads"),
    "Tq": (TOKENS, "queries of a sequence"),
    "S": (TOKENS, "keys of a sequence, a cache counted in"),
    "D": (COUNT, "components of a query and of a key"),
    "Dv": (COUNT, "components of a value"),
    "score": (TEXT, "`dot`, `general`, `additive`, `concat` or `cosine`"),
    "scale": (TEXT, "`default`, or what the spec says"),
    "softcap": ("score", "the bound of capped scores; absent without a cap"),
    "mask_kinds": (TEXT, "`causal`, `window` and the kinds of operands, with `+` between them"),
    "case": (TEXT, "all of the case, as JSON"),
    "point": (TEXT, "the levels of the suite's axes; in a frame the columns `point.<axis>`"),
    "status": (TEXT, "`ok`, `wrong`, `unsupported`, `oom`, `timeout`, `crashed` or `not-run`"),
    "reason": (TEXT, "why it is not `ok`"),
    "error_ratio": (ONE, "the largest error over the bound of rounding; above 1 it is `wrong`"),
    "metrics": (
        TEXT,
        (
            "numbers by name; in a frame the columns `metric.<name>`. Where several cases stood in one block, "
            "`round.1.7` is the seconds of round 7 in replicate 1"
        ),
    ),
    "n_samples": (COUNT, "samples that count"),
    "n_bursts": (COUNT, "bursts that count"),
    "n_replicates": (COUNT, "processes that count"),
    "time_median_s": (SECONDS, "a call: the median over bursts"),
    "time_low_s": (SECONDS, "the lower end of its interval over every process"),
    "time_high_s": (SECONDS, "the upper end of its interval over every process"),
    "time_hot_median_s": (SECONDS, "on an accelerator a call with warm caches, beside the main time"),
    "time_graph_median_s": (SECONDS, "on an accelerator a call as a CUDA graph, beside the main time"),
    "cache": (TEXT, "the state in which the main time was taken: `hot`, `cold`, `graph` or `none`"),
    "cpu_time_s": (SECONDS, "processor time of a call, all threads together"),
    "import_s": (SECONDS, "importing the framework"),
    "trace_s": (SECONDS, "tracing, where the framework does"),
    "compile_s": (SECONDS, "compiling, where the framework does"),
    "first_call_s": (SECONDS, "the first call"),
    "peak_bytes": (BYTES, "the high-water mark during the call, less the level just before it"),
    "memory": (TEXT, "how `peak_bytes` was read, as JSON"),
    "flops": (COUNT, "operations that the case needs at least"),
    "min_bytes": (BYTES, "traffic that the case needs at least"),
    "exponentials": (COUNT, "evaluations of exp and tanh that the case needs at least"),
    "flop_rate": ("1/s", "operations in a second that were reached"),
    "roofline_fraction": (ONE, "what was reached, over the ceiling that binds"),
    "roofline_limit": (TEXT, "which ceiling binds: `product`, `copy` or `exp`"),
    "disturbed_bursts": (COUNT, "bursts that were disturbed, and measured again"),
    "anchor": (TEXT, "the fixed work beside the block, with its version and the hash of its code"),
    "anchor_library": (TEXT, "what computes it"),
    "anchor_reason": (TEXT, "why bursts have none, or too few do"),
    "anchor_median_s": (SECONDS, "a call of the anchor; absent where fewer than six bursts of two processes have it"),
    "anchor_ratio": (ONE, "the median of the cell's time over the anchor's, burst by burst; absent likewise"),
    "machine_id": (TEXT, "the hardware, as a hash"),
    "spec_version": (TEXT, "the version of the specification of attention"),
    "code_version": (TEXT, "the commit of the code, with `+` where it was changed; else the version"),
    "imported": (TEXT, "the tool that measured, where attnbench did not"),
}
SAMPLES: Mapping[str, tuple[str, str]] = {
    "run_id": CELLS["run_id"],
    "cell_id": (TEXT, "the cell that it is a sample of"),
    "replicate": (COUNT, "the process, from 0"),
    "burst": (COUNT, "the burst of that process, from 0"),
    "index": (COUNT, "the sample of that burst, from 0"),
    "calls": (COUNT, "calls that were timed together"),
    "wall_s": (SECONDS, "wall time of a call"),
    "cpu_s": (SECONDS, "processor time of a call, all threads together"),
    "warmup": (TEXT, "whether it warmed up and does not count"),
    "disturbed": (TEXT, "whether something else was at work, so that it was measured again and does not count"),
    "cache": (TEXT, "the state of the caches, as in the cells"),
    "t_start": (SECONDS, "since the start of the run"),
    "anchor_s": (
        SECONDS,
        "a call of the anchor just after the burst; absent where it was disturbed or there is none",
    ),
}
BY_RECORD: Mapping[type[Record], Mapping[str, tuple[str, str]]] = {CellResult: CELLS, Sample: SAMPLES}
# Whole numbers that may be absent are pandas' nullable ones; numbers with a point have NaN, texts a missing value.
TYPES = {(int, True): "Int64", (int, False): "int64", (bool, False): "bool"}


def column_type(model: type[Record], name: str) -> str:
    """The type of a column in a frame, as pandas calls it; ``text`` is ``str``, or ``object`` before pandas 3."""
    kind, absent = _kind(model.model_fields[name].annotation)
    if kind is float:
        return "float64"
    return TYPES.get((kind, absent), "text")


def typed(frame: pd.DataFrame, model: type[Record]) -> pd.DataFrame:
    """The frame with whole numbers as such, also where some are absent."""
    whole = [name for name in model.model_fields if column_type(model, name) == "Int64" and name in frame]
    return frame.astype(dict.fromkeys(whole, "Int64"))


def _kind(annotation: Any) -> tuple[type, bool]:
    """The plain type of a field, and whether it may be absent."""
    parts = typing.get_args(annotation) if typing.get_origin(annotation) in (types.UnionType, typing.Union) else ()
    plain = next((part for part in parts if part is not type(None)), annotation)
    if typing.get_origin(plain) is typing.Literal:
        plain = type(typing.get_args(plain)[0])
    return (plain if isinstance(plain, type) else dict), type(None) in parts


def columns_table(model: type[Record]) -> str:
    """The columns of a record as a table in Markdown."""
    lines = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    for name, (unit, meaning) in BY_RECORD[model].items():
        expanded = {"point": "as its levels", "metrics": "float64"}
        kind = expanded.get(name) or column_type(model, name)
        lines.append(f"| `{name}` | {kind} | {unit} | {meaning} |")
    return "\n".join(lines)
