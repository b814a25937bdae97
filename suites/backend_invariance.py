"""Does a training run depend on the framework? The same model from the same arrays, twenty updates in each."""

from __future__ import annotations

from attnbench.api.suites import Figure, Frame, ObservedSuite, OneOf, Optimiser, Probe, Story, frames, retrieval, tasks

TASK = tasks.RetrievalTask(slots=8, keys=32, values=16)
HEAD, MODEL = 16, 32
STEPS, BATCH = 20, 32
RATES = {"adam": 1e-3, "sgd": 0.1}
# Relative differences of the losses that count as none.
LIMITS = {"float32": 1e-5, "float64": 1e-10}


def observe(probe: Probe, seed: int, arm: str, optimiser: str, dtype: str) -> dict[str, float]:
    """The loss before each of the updates."""
    batches = tasks.batches(TASK.draw(seed, "train", STEPS * BATCH), BATCH)
    model, parameters = retrieval.build(arm, HEAD, seed, TASK, dtype, MODEL)
    learner = probe.learner(model, parameters, Optimiser(optimiser, RATES[optimiser]))
    return {f"loss.step{step:02d}": float(learner.step(batch)) for step, batch in enumerate(batches, start=1)}


def findings(frame: Frame) -> list[str]:
    """How far the losses of the frameworks differ in each dtype, against the limit."""
    said = []
    for dtype in frames.levels(frame, "dtype"):
        worst = frames.largest_difference(frames.measured(frame, dtype=dtype))
        if worst is None:
            continue
        limit = LIMITS[dtype]
        verdict = "within" if worst.relative <= limit else "more than"
        said.append(f"In {dtype}, {verdict} the limit of {limit:g}: {worst.text}")
    if not said:
        said = frames.agreement(frame)
    return [*said, *frames.shortfall(frame)]


def by_step(frame: Frame) -> Frame:
    """A row for each step: columns ``step`` and ``loss``."""
    kept = ["impl", "point.seed", "point.arm", "point.optimiser", "point.dtype"]
    columns = {name: int(name.removeprefix("metric.loss.step")) for name in frame if name.startswith("metric.loss.")}
    narrow = frame[[*kept, *columns]].rename(columns=columns)
    return narrow.melt(kept, var_name="step", value_name="loss").astype({"step": int})


STORY = Story(
    question="Is a training run the same in NumPy, PyTorch and JAX?",
    method=(
        "The parameters and the batches of a small retrieval model are drawn by NumPy and handed to every framework, "
        "which makes twenty updates with its own autograd (NumPy: a backward pass written out), its own optimiser "
        "(torch.optim, Optax; NumPy: written out) and its own attention. Losses are compared step by step; no more "
        "than 1e-5 apart in float32 and 1e-10 in float64, relatively, counts as the same."
    ),
    findings=findings,
    figures=(
        Figure(
            "backend-invariance",
            "Loss of the retrieval model, update by update",
            x="step",
            y="loss",
            hue="impl",
            col="point.arm",
            x_label="update",
            y_label="loss",
            data=by_step,
            caption="Median over seeds, optimisers and dtypes. The lines of the frameworks lie on one another.",
        ),
    ),
    limits=(
        "Twenty updates of a small model. Rounding grows with training: after thousands of updates two frameworks are "
        "two samples of the same distribution, which is why the other trainings are compared over seeds."
    ),
)

SUITE = ObservedSuite(
    name="backend-invariance",
    story=STORY,
    axes={
        "seed": (0, 1),
        "arm": ("unscaled", "1/sqrt(d)", "additive"),
        "optimiser": ("adam", "sgd"),
        "dtype": ("float32", "float64"),
    },
    levels={"dtype": OneOf(*LIMITS)},
    observe=observe,
    implementations=("*/naive",),
    tiers={"smoke": {"arm": ("1/sqrt(d)", "additive"), "optimiser": ("adam",), "seed": (0,)}},
)
