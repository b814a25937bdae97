"""What a native kernel does by itself in the edge cases: probes, and the word that each finds.

Nothing is judged here: there is no wrong answer, only one that a user has to know. Runs in the process that holds
the framework, one probe at a time, so that a kernel that crashes costs one place of the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnbench.agree.semantics.edges import (
    ERROR,
    Finding,
    Native,
    Refused,
    causal_tall,
    causal_wide,
    dead_bias_row,
    dead_row,
    determinism,
    dtypes,
    fewer_keys,
    fewer_values,
    float16_range,
    float32_precision,
    grouped_heads,
    lse_base,
    lse_dead,
    mask_and_causal,
    nan_isolation,
    no_keys,
    no_queries,
    polarity,
    softcap,
    unlike_heads,
    value_width,
)

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend
    from attnbench.backends.card import NativeKernel


@dataclass(frozen=True)
class EdgeProbe:
    """One row of the table: its key in JSON, its title, its procedure, and why a user should care."""

    key: str
    title: str
    run: Callable[[Native], Finding]
    why: str


PROBES = (
    EdgeProbe(
        "dead_row",
        "row with every key masked",
        dead_row,
        "Padding rows exist in every batch: a mean is silent, and NaN spreads to all weights in the backward pass.",
    ),
    EdgeProbe(
        "dead_bias_row",
        "row with −inf in every bias",
        dead_bias_row,
        "The same row, written as an added mask; a kernel need not treat both alike.",
    ),
    EdgeProbe(
        "polarity",
        "polarity of a bool mask",
        polarity,
        "The wrong polarity attends exactly what it should not, and still trains.",
    ),
    EdgeProbe(
        "causal_wide",
        "causal, Tq < S",
        causal_wide,
        "Decoding with a cache needs the bottom right; top left hides the newest keys.",
    ),
    EdgeProbe("causal_tall", "causal, Tq > S", causal_tall, "At the bottom right the leading rows have no key at all."),
    EdgeProbe(
        "mask_and_causal",
        "mask and causal together",
        mask_and_causal,
        "Where one of them is dropped, padding or the future is attended.",
    ),
    EdgeProbe(
        "softcap", "softcap", softcap, "A cap after the mask turns −inf into −c, and an ignored cap is another model."
    ),
    EdgeProbe("lse", "lse", lse_base, "Partial results merge by their lse, which takes one base on both sides."),
    EdgeProbe(
        "lse_dead",
        "lse of a row with every key masked",
        lse_dead,
        "Anything but −inf gives the empty part a weight when parts are merged.",
    ),
    EdgeProbe("nan", "NaN in a masked key", nan_isolation, "Uninitialised padding may hold NaN, and 0 · NaN is NaN."),
    EdgeProbe("no_keys", "S = 0", no_keys, "An empty cache or document is ordinary, and means over nothing are NaN."),
    EdgeProbe("no_queries", "Tq = 0", no_queries, "Batches of ragged lengths have empty members."),
    EdgeProbe(
        "heads",
        "fewer key and value heads",
        grouped_heads,
        "Weights trained with one map of heads are wrong under the other.",
    ),
    EdgeProbe(
        "value_width",
        "values wider than keys",
        value_width,
        "Latent attention (MLA) has other head sizes for values; padding costs time and memory.",
    ),
    EdgeProbe("determinism", "two runs", determinism, "Differences between runs hide regressions."),
    EdgeProbe(
        "float32",
        "precision of float32 by default",
        float32_precision,
        "TF32 keeps 11 bits of 24 and is the default of some kernels on GPUs.",
    ),
    EdgeProbe("dtypes", "dtypes", dtypes, "A dtype that is taken is not always the dtype that is computed in."),
    EdgeProbe(
        "float16_range",
        "float16 and q·k > 65504",
        float16_range,
        "The product overflows before the scale is applied, unless it is accumulated in float32.",
    ),
    EdgeProbe(
        "fewer_values",
        "fewer values than keys (wrong input)",
        fewer_values,
        "Where nobody checks, a key is ignored without a word.",
    ),
    EdgeProbe(
        "fewer_keys",
        "fewer keys than values (wrong input)",
        fewer_keys,
        "Where nobody checks, memory beyond the keys is read, and the result depends on what lies there.",
    ),
    EdgeProbe(
        "unlike_heads",
        "query heads no multiple of the others (wrong input)",
        unlike_heads,
        "Where nobody checks, heads are left out or read from beyond the array.",
    ),
)
BY_KEY = {probe.key: probe for probe in PROBES}


def find(backend: Backend, kernel: NativeKernel, key: str, device: str = "cpu") -> Finding:
    """One place of the table. What the kernel raises is a finding."""
    try:
        return BY_KEY[key].run(Native(backend, kernel, device))
    except Refused as refused:
        return Finding(ERROR, str(refused))
