"""The first thing to run: how fast is attention here, in which framework, and what does it cost in memory?"""

from __future__ import annotations

from attnbench.api.suites import AttentionSpec, Case, Figure, Frame, Problem, Story, TimedSuite, costs
from attnbench.suites import left_out as kinds

# One forward pass over all lengths, and at one length what a user does besides: training, and half the bits.
TRAINED = 512
DECODED = 2048
SETTINGS = ("forward", "training", "bfloat16", "decode")


def case(setting: str, T: int) -> Case | None:
    """B1 H8 D64: forward at every length below 2048, decoding with grouped keys above, and the rest at T = 512."""
    if setting == "decode":
        problem = Problem(Hq=8, Hkv=2, Tq=1, S=T, D=64, dtype="float32")
        return Case(AttentionSpec(), problem, phase="decode") if T >= DECODED else None
    if T >= DECODED or (setting != "forward" and T != TRAINED):
        return None
    dtype = "bfloat16" if setting == "bfloat16" else "float32"
    phase = "backward" if setting == "training" else "forward"
    spec = AttentionSpec(causal=setting != "forward")
    return Case(spec, Problem(Hq=8, Tq=T, D=64, dtype=dtype), phase=phase)


def findings(frame: Frame) -> list[str]:
    """The fastest of every case, how memory grows with the length, and what has no time and why."""
    timed = frame[frame["status"] == "ok"]
    fastest = [_fastest(block) for _, block in timed.groupby("block_id", sort=False) if len(block) > 1]
    return [*fastest, *_memory(timed), *_without(frame)]


def _fastest(block: Frame) -> str:
    """The fastest of a case with those that its rounds do not tell from it, and the lead over the next."""
    lead = costs.lead(block)
    where = f"{_name(block.iloc[0])}:"
    if lead.ratio is None or not lead.behind:
        return f"{where} no clear winner, the paired rounds tell none of {len(block)} apart."
    time = f"{1e3 * block.loc[block['impl'] == lead.first, 'time_median_s'].min():.3g} ms"
    if len(lead.together) == 1:
        first = f"{where} {lead.first} is fastest, {time}"
    else:
        first = f"{where} no clear winner among {', '.join(lead.together)} ({time}), by the paired rounds"
    return f"{first}; {lead.second} takes {lead.ratio.text('.2f')} times as long as {lead.first} (by {lead.rests_on})."


def _name(row: Frame) -> str:
    return f"{row['point.setting']}, {'S' if row['point.setting'] == 'decode' else 'T'} = {row['point.T']}"


def _memory(timed: Frame) -> list[str]:
    """By what factor the memory of a forward pass grows from the shortest length to the longest."""
    rows = timed[(timed["point.setting"] == "forward") & timed["peak_bytes"].notna()]
    if rows["point.T"].nunique() < 2:  # noqa: PLR2004
        return []
    short, long = rows["point.T"].min(), rows["point.T"].max()
    peaks = rows.pivot_table(index="impl", columns="point.T", values="peak_bytes", sort=False)
    parts = []
    for name, peak in peaks.iterrows():
        if peak[short] > 0 and peak[long] > 0:
            sizes = f"{peak[short] / 2**20:.3g} to {peak[long] / 2**20:.3g} MiB"
            parts.append(f"{name} {peak[long] / peak[short]:.3g} times ({sizes})")
    if not parts:
        return []
    growth = long / short
    head = f"From T = {short} to {long} ({growth:.3g} times as long; the square is {growth**2:.4g}) the memory of a"
    return [f"{head} forward pass grows: {', '.join(parts)}."]


def _without(frame: Frame) -> list[str]:
    """How many cells have no time, by status, with the reason that came most often."""
    rest = frame[frame["status"] != "ok"]
    if rest.empty:
        return [f"All {len(frame)} cells were measured."]
    parts = []
    for (impl, status), rows in rest.groupby(["impl", "status"], sort=False):
        reasons = rows["reason"].value_counts()
        more = f", and {len(reasons) - 1} more reasons" if len(reasons) > 1 else ""
        parts.append(f"{impl} {status} in {len(rows)} ({reasons.index[0]}{more})")
    return [f"{len(rest)} of {len(frame)} cells have no time: {'; '.join(parts)}."]


def lengths(frame: Frame) -> Frame:
    """The forward passes over all lengths."""
    return frame[frame["point.setting"] == "forward"]


def settings(frame: Frame) -> Frame:
    """The cases that stand at one length."""
    return frame[frame["point.setting"] != "forward"]


def _over_lengths(name: str, title: str, y: str, caption: str) -> Figure:
    return Figure(
        name, title, x="Tq", y=y, hue="impl", log_x=True, log_y=True, x_label="length T", data=lengths, caption=caption
    )


def _by_setting(name: str, title: str, y: str, caption: str) -> Figure:
    return Figure(name, title, x="impl", y=y, col="point.setting", kind="bar", data=settings, caption=caption)


STORY = Story(
    question="How fast is attention on this machine, in which framework, and what does it cost in memory?",
    method=(
        "B = 1, 8 heads, D = 64: a forward pass at three lengths in float32; at T = 512 causal training (forward and "
        "backward), and a causal forward pass in bfloat16; and one decoding step over 2048 keys with 8 query and 2 key "
        "heads. Every cell is checked against the float64 oracle before it is timed."
    ),
    findings=findings,
    figures=(
        _over_lengths(
            "time",
            "Time of a forward pass against the length",
            "time_median_s",
            "B1 H8 D64 float32. Median of burst medians; the band is its interval. Both axes are logarithmic.",
        ),
        _over_lengths(
            "memory",
            "Memory of a forward pass against the length",
            "peak_bytes",
            "High-water mark during the call less the level just before it. Both axes are logarithmic.",
        ),
        _by_setting(
            "settings",
            "What else a user does: training and bfloat16 at T = 512, decoding over 2048 keys",
            "time_median_s",
            "Training is forward and backward; it and bfloat16 are causal. Decoding is one query of 8 heads over 2 "
            "heads of keys. The dark line is the interval.",
        ),
        Figure(
            "errors",
            "Agreement with the float64 oracle",
            x="impl",
            y="error_ratio",
            kind="strip",
            log_y=True,
            guide=(1.0, 0.0, "the bound"),
            caption="One point for each case: the largest error as a fraction of the bound that it must stay within.",
        ),
    ),
    limits="One batch entry and small sizes, chosen to be done in minutes; larger problems rank differently.",
)

SUITE = TimedSuite(
    name="smoke",
    story=STORY,
    axes={"setting": SETTINGS, "T": (128, 512, 1024, DECODED)},
    case=case,
    leaves_out=kinds.left_out(
        kinds.FAR_BEHIND,
        *kinds.BY_NAME_ALONE,
        kinds.PYTHON_LOOPS,
        kinds.CAUSAL_ALONE,
        kinds.COMPILED_LONG,
        kinds.IN_A_LAYER,
        besides=dict.fromkeys(
            ("torch/sdpa-math", "torch/sdpa-flash"),
            "torch/sdpa chooses among these kernels by itself; speed measures each",
        ),
    ),
    cell_s=0.13,
)
