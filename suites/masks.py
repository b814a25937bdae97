"""What do causal, window, padding, a dense mask, bias, ALiBi, segments, softcap and sinks cost against plain attention?

On a two-core machine the default selection is 13 cases of 15 implementations; ``--budget 15m`` bounds it.
"""

from __future__ import annotations

from attnbench.api.suites import (
    AttentionSpec,
    Case,
    Figure,
    Frame,
    Problem,
    Story,
    TimedSuite,
    UsageError,
    costs,
    frames,
    not_one_of,
)
from attnbench.suites import left_out as kinds

PLAIN = "plain"
WINDOW = 128
# For every kind what the spec says and which operands are drawn.
KINDS: dict[str, tuple[AttentionSpec, tuple[str, ...]]] = {
    PLAIN: (AttentionSpec(), ()),
    "causal": (AttentionSpec(causal=True), ()),
    "window": (AttentionSpec(causal=True, window=(WINDOW - 1, None)), ()),
    "lengths": (AttentionSpec(), ("kv_lengths",)),
    "padding-mask": (AttentionSpec(), ("mask_keys",)),
    "dense-mask": (AttentionSpec(), ("mask",)),
    "bias": (AttentionSpec(), ("bias",)),
    "alibi": (AttentionSpec(causal=True), ("slopes",)),
    "segments": (AttentionSpec(), ("segments",)),
    "softcap": (AttentionSpec(softcap=50.0), ()),
    "sinks": (AttentionSpec(), ("sinks",)),
}
TRAINED = (PLAIN, "causal")


def case(tokens: int, kind: str, phase: str, dtype: str, heads: int, head_size: int, batch: int) -> Case:
    """The same sizes with another restriction or another change of the logits."""
    if kind not in KINDS:
        raise UsageError(not_one_of("kind", kind, KINDS))
    if phase not in ("prefill", "train"):
        msg = f"phase {phase!r} is not one of prefill, train; decoding with a window or sinks: attnbench run decode"
        raise UsageError(msg)
    spec, operands = KINDS[kind]
    problem = Problem(B=batch, Hq=heads, Tq=tokens, D=head_size, dtype=dtype, operands=operands)
    return Case(spec, problem, phase="forward" if phase == "prefill" else "backward")


def trained(phase: str, kind: str) -> bool:
    """Training is asked of plain and causal."""
    return phase == "prefill" or kind in TRAINED


def over_plain(frame: Frame) -> Frame:
    """Every kind over plain, with ``work``: its floating-point operations over those of plain."""
    ok = frames.measured(frame)
    ratios = costs.over_base(frame, "point.kind", PLAIN)
    plain = ok[ok["point.kind"] == PLAIN].groupby(["point.tokens", "point.phase"])["flops"].first()
    at = list(zip(ratios["point.tokens"], ratios["point.phase"], strict=True))
    return ratios.assign(work=ratios["flops"] / [plain[place] for place in at], status="ok")


def findings(frame: Frame) -> list[str]:
    """What each kind costs in each implementation, beside the work that it needs; what is missing."""
    ratios = over_plain(frame)
    said = []
    for (kind, tokens, phase), rows in ratios.groupby(["point.kind", "point.tokens", "point.phase"], sort=False):
        parts = [f"{row.impl} {costs.ratio(row).text('.3g')}" for row in rows.itertuples()]
        work = rows["work"].iloc[0]
        needed = "as many operations as" if abs(work - 1) < 0.005 else f"{work:.2g} of the operations of"  # noqa: PLR2004
        said.append(
            f"{kind} ({phase}, {tokens} tokens) needs {needed} plain attention, and takes this many times as long: "
            f"{', '.join(parts)}."
        )
    return [*said, *_skipping(ratios), *costs.shortfall(frame)]


def _skipping(ratios: Frame) -> list[str]:
    """Who is at least a tenth faster where a window leaves little to do, by the interval."""
    rows = ratios[(ratios["point.kind"] == "window") & (ratios["point.phase"] == "prefill")]
    if rows.empty:
        return []
    skipping = sorted(set(rows[rows["high"] < 0.9]["impl"]))  # noqa: PLR2004
    who = ", ".join(skipping) if skipping else "none of them"
    return [f"Of those that take a window, this leaves out a tenth of the time or more in: {who}."]


STORY = Story(
    question="What do masks, biases and changes of the logits cost against plain attention?",
    method=(
        f"By itself two batch entries, four heads of 64, 1024 tokens. The window is causal and {WINDOW} keys wide, "
        "ALiBi causal; lengths are drawn anew for each batch entry, a padding mask leaves 70 % of the keys and a "
        "dense one 70 % of the pairs, three segments follow each other, and the cap is 50. Training only for plain "
        "and causal."
    ),
    findings=findings,
    figures=(
        Figure(
            "ratio",
            "Time over plain attention",
            x="impl",
            y="time_ratio",
            col="point.kind",
            kind="bar",
            y_label="time over plain",
            guide=(1.0, 0.0, "plain"),
            data=lambda frame: over_plain(frame)[lambda rows: rows["point.phase"] == "prefill"],
            caption="Forward pass. Ratio of medians of the same implementation, measured one after the other.",
        ),
        Figure(
            "map",
            "Time over plain attention, all at once",
            x="point.kind",
            y="impl",
            hue="time_ratio",
            kind="heat",
            log_y=True,
            x_label="kind",
            data=lambda frame: over_plain(frame)[lambda rows: rows["point.phase"] == "prefill"],
            caption="Forward pass; an empty place is a kind that an implementation does not take, or no measurement.",
        ),
        Figure(
            "memory",
            "Peak memory over plain attention",
            x="point.kind",
            y="impl",
            hue="memory_ratio",
            kind="heat",
            log_y=True,
            x_label="kind",
            data=lambda frame: over_plain(frame)[lambda rows: rows["point.phase"] == "prefill"],
            caption="Forward pass: the mask that an implementation builds for a kernel is part of what it needs.",
        ),
    ),
    limits=(
        "Kinds that a kernel does not know are turned into a mask or a bias by its adapter, whose building is part of "
        "the cost; a model builds it once for all layers. One length: at others the balance is another."
    ),
)

SUITE = TimedSuite(
    name="masks",
    story=STORY,
    axes={
        "tokens": (1024,),
        "kind": tuple(KINDS),
        "phase": ("prefill", "train"),
        "dtype": ("float32",),
        "heads": (4,),
        "head_size": (64,),
        "batch": (2,),
    },
    case=case,
    thin=(trained,),
    leaves_out=kinds.left_out(
        kinds.FAR_BEHIND, *kinds.BY_NAME_ALONE, kinds.CAUSAL_ALONE, kinds.IN_A_LAYER, kinds.PYTHON_LOOPS
    ),
    cell_s=0.2,
)
