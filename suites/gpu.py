"""How fast are the kernels of a data-centre GPU, at the sizes of their papers and of real models?

Needs CUDA: without it every cell is refused with the reason, and the exit status is 5. On an accelerator the default
selection is about 50 cases of 19 implementations; with one GPU allow half an hour, or give ``--budget``.
"""

from __future__ import annotations

from dataclasses import replace

from attnbench.api.suites import Case, Figure, Frame, OneOf, Story, TimedSuite, Whole, catalogue, costs, frames
from attnbench.suites import left_out as kinds

# FlashAttention-2 (Dao 2023), section 4.1: 16,384 tokens in all, a hidden size of 2048, heads of 64 or 128.
TOTAL = 16384
SIZES = ("h32-d64", "h32-d64-causal", "h16-d128", "h16-d128-causal")
MODELS = ("llama-3-8b", "mistral-7b", "gemma-2-9b/local", "gemma-2-9b/global", "deepseek-v3", "gpt-oss-120b/local")
AT = 4096
DOT, ADDITIVE = "dot", "additive"
ADDITIVE_AT = (512, "h32-d64")
# Tq·S·Da, which the float64 reference of an additive score writes out for each head, in several copies.
LARGEST = {"prefill": 1024 * 1024 * 64, "train": 512 * 512 * 64, "decode": 1024 * 1024 * 64}
LEVELS = ("shape", "tokens", "phase", "score", "dtype")
# One array of all scores in float32, above which what stores them is not measured unless it is named.
MOST_SCORES = 4 * 2**30


def case(tokens: int, shape: str, phase: str, score: str, dtype: str, batch: int) -> Case | None:
    """One layer of a named shape; a batch of 0 is as many sequences as make 16,384 tokens, and one to decode.

    An additive score has as many hidden units as a head has channels. ``None`` for one of a model, since none of them
    has it, and where it is too large for the reference.
    """
    fill = max(1, TOTAL // tokens) if phase != "decode" else 1
    layer = catalogue.case(shape, tokens, phase=phase, batch=batch or fill, dtype=dtype)
    if score == DOT:
        return layer
    p = layer.problem
    if catalogue.shape(shape).is_model or p.Tq * p.S * p.Da > LARGEST[phase]:
        return None
    return replace(layer, spec=replace(layer.spec, score=score))


def models(shape: str, tokens: int) -> bool:
    """The models at one length, the sizes of the paper at all."""
    return shape in SIZES or tokens == AT


def decoded(phase: str, shape: str) -> bool:
    """Decoding is asked of the models, whose caches are what they share."""
    return phase != "decode" or shape in MODELS


def scored(score: str, shape: str, tokens: int) -> bool:
    """The additive score is asked of one size, which its reference can be written out for."""
    return score == DOT or (tokens, shape) == ADDITIVE_AT


def findings(frame: Frame) -> list[str]:
    """The fastest of every case, and the highest rate of operations with where it was reached."""
    fastest = costs.fastest(frame, lambda row: costs.label(row, *LEVELS))
    ok = frames.measured(frame)
    best = []
    if len(ok):
        top = ok.sort_values("flop_rate", ascending=False).iloc[0]
        where = costs.label(top, *LEVELS)
        best.append(f"The highest rate is {top['flop_rate'] / 1e12:.3g} TFLOP/s: {top['impl']}, {where}.")
    return [*best, *fastest, *costs.shortfall(frame)]


def sizes(frame: Frame) -> Frame:
    """The sizes of the paper and their dot products, with the rate in TFLOP/s."""
    rows = frame[~frame["point.shape"].isin(MODELS) & (frame["point.score"] == DOT)]
    return rows.assign(tera=rows["flop_rate"] / 1e12)


def of_models(frame: Frame) -> Frame:
    """The models and their dot products."""
    return frame[frame["point.shape"].isin(MODELS) & (frame["point.score"] == DOT)]


def _rate(phase: str, title: str) -> Figure:
    return Figure(
        f"rate-{phase}",
        title,
        x="point.tokens",
        y="tera",
        hue="impl",
        col="point.shape",
        log_x=True,
        x_label="tokens",
        y_label="TFLOP/s",
        data=lambda frame: sizes(frame)[lambda rows: rows["point.phase"] == phase],
        caption="Operations that the case needs over the time; what causality leaves out is not counted.",
    )


def _model(phase: str, title: str) -> Figure:
    return Figure(
        f"models-{phase}",
        title,
        x="impl",
        y="time_median_s",
        col="point.shape",
        kind="bar",
        log_y=True,
        data=lambda frame: of_models(frame)[lambda rows: rows["point.phase"] == phase],
        caption="Median of burst medians; the dark line is its interval.",
    )


def _additive() -> Figure:
    return Figure(
        "additive",
        "Additive attention: its time",
        x="impl",
        y="time_median_s",
        col="point.phase",
        kind="bar",
        log_y=True,
        data=lambda frame: frame[frame["point.score"] == ADDITIVE],
        caption="32 sequences of 512 with 32 heads of 64. Median of burst medians; the dark line is its interval.",
    )


STORY = Story(
    question="How fast are the kernels of a data-centre GPU, at the sizes of their papers and of real models?",
    method=(
        "By itself the sizes of FlashAttention-2, section 4.1: 16,384 tokens in all, as 32 sequences of 512 to one "
        "of 16,384, with 32 heads of 64 or 16 of 128, causal or not, in bfloat16; layers of models at 4096 "
        "tokens, in decoding with one sequence; and additive attention with 32 sequences of 512. Every cell is "
        "checked against the float64 oracle before it is timed."
    ),
    findings=findings,
    figures=(
        _rate("prefill", "Forward: rate of operations"),
        _rate("train", "Forward and backward: rate of operations"),
        _model("prefill", "Models: forward at 4096 tokens"),
        _model("train", "Models: forward and backward at 4096 tokens"),
        _model("decode", "Models: one token over 4096"),
        _additive(),
    ),
    limits=(
        "One GPU and one layer. What stores all scores is left out where one array of them, or of their hidden units, "
        "is above 4 GiB. A kernel that takes no window, softcap or sinks, or not that score, has no time for the cases "
        "that have them: its rows say so."
    ),
)

SUITE = TimedSuite(
    name="gpu",
    story=STORY,
    axes={
        "tokens": (512, 2048, AT, 16384),
        "shape": (*SIZES, *MODELS),
        "phase": ("prefill", "train", "decode"),
        "score": (DOT, ADDITIVE),
        "dtype": ("bfloat16",),
        "batch": (0,),
    },
    levels={"batch": Whole(0, 2**30), "score": OneOf(DOT, ADDITIVE)},
    case=case,
    thin=(models, decoded, scored),
    refuse=costs.refuse_scores_above(MOST_SCORES, kinds.STORES_SCORES),
    leaves_out=kinds.left_out(kinds.LEARNED_SCORES),
    devices=("cuda",),
)
