"""How far back does the loss of an output reach: through one context vector, and through attention?

Vaswani et al. 2017 argue by the lengths of paths that long ranges are easier to learn where the way is short. Here the
gradient itself is measured, of the loss of each output at each state of the encoder.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from attnbench.api.suites import (
    Figure,
    Frame,
    ObservedSuite,
    Optimiser,
    Probe,
    Story,
    Whole,
    claims,
    contrasts,
    frames,
    levels,
    reach,
    tasks,
    training,
    translation,
)

SYMBOLS, SHORTEST, LONGEST = 16, 1, 20
BATCH, EVERY = 64, 200
RATE, CLIP = 5e-3, 1.0
HELD_OUT, REACHED = 128, 64
STAGES = {"init": "before training", "trained": "after training"}
# So many of the nearest and of the farthest steps are compared.
ENDS = 5
FARTHEST = 64
ATTENDS, FIXED = "additive", "state"
# What findings and verdicts speak of, where several were measured.
SPOKEN = {"length": LONGEST, "units": translation.UNITS}


@lru_cache(maxsize=2)
def examples(task: str, seed: int, steps: int, longest: int) -> tuple[list[tasks.Batch], tasks.Batch, tasks.Batch]:
    """Batches and validation set with lengths up to the trained one, and the examples whose gradients are taken."""
    of = tasks.SequenceTask(task, SYMBOLS)
    train = tasks.batches(of.draw(seed, "train", steps * BATCH, SHORTEST, longest), BATCH)
    validation = of.draw(seed, "validation", HELD_OUT, SHORTEST, longest)
    return train, validation, of.draw(seed, "test", REACHED, longest, longest)


def observe(probe: Probe, seed: int, task: str, arm: str, steps: int, length: int, units: int) -> dict[str, float]:
    """The mean norm of the gradient by steps between, before and after training, and what it says in one number."""
    train, validation, test = examples(task, seed, steps, length)
    model, parameters = translation.build(arm, seed, SYMBOLS, units=units)
    learner = probe.learner(model, parameters, Optimiser("adam", RATE, CLIP))

    def right(learning: Any) -> float:
        tokens = learning.predict(translation.as_read(arm, validation))["tokens"]
        return training.token_accuracy(tokens, validation["target"], validation["lengths"])

    places = tasks.SequenceTask(task, SYMBOLS).alignment(test["source"], test["lengths"])
    places = length - 1 - places if translation.arm(arm).reversed_source else places
    reached = translation.as_read(arm, test)
    metrics = reach.summary("init", learner.reach(reached), places, ENDS)
    trained = training.fit(learner, [translation.as_read(arm, batch) for batch in train], right, EVERY)
    metrics |= reach.summary("trained", learner.reach(reached), places, ENDS)
    return metrics | {"accuracy": trained.best, "parameters": training.count(parameters)} | trained.metrics()


def verdicts(frame: Frame) -> list[claims.ClaimVerdict]:
    """The family of two claims, on the first task, in each implementation."""
    judged = []
    for name, rows in frames.measured(_first_task(frame)).groupby("impl", sort=False):
        judged += contrasts.judge_family(family(rows), (str(name),))
    return judged


def family(rows: Frame) -> dict[str, contrasts.Contrast]:
    """The contrasts named beforehand: decades lost by one context vector, less those lost by attention."""

    def of(metric: str) -> contrasts.Contrast:
        return contrasts.differences(rows, metric, {"arm": FIXED}, {"arm": ATTENDS})

    return {"attention-shortens-the-way": of("init.fall"), "way-stays-short": of("trained.fall")}


def _first_task(frame: Frame) -> Frame:
    return frames.spoken(frame[frame["point.task"] == frame["point.task"].iloc[0]], **SPOKEN)


def findings(frame: Frame) -> list[str]:
    """Decades lost by each arm at both stages, and how much of the gradient lies on the right place."""
    ok = frames.spoken(frames.measured(frame), **SPOKEN)
    said = []
    for task, rows in ok.groupby("point.task", sort=False):
        for stage, words in STAGES.items():
            arms = list(rows.groupby("point.arm", sort=False))
            falls = ", ".join(f"{arm} {mine[f'metric.{stage}.fall'].mean():.1f}" for arm, mine in arms)
            right = ", ".join(f"{arm} {mine[f'metric.{stage}.right'].mean():.1f}" for arm, mine in arms)
            said.append(
                f"On {task} {words} the gradient loses so many decades from the nearest {ENDS} steps to the farthest: "
                f"{falls}; at the place that an output comes from it is so many times its mean: {right}."
            )
        accuracies = ", ".join(f"{arm} {mine['metric.accuracy'].mean():.2f}" for arm, mine in arms)
        said.append(f"Token accuracy on validation after training on {task}: {accuracies}.")
    return [*said, *frames.unspoken(frame, **SPOKEN), *frames.shortfall(frame)]


def by_steps(frame: Frame) -> Frame:
    """A row for each number of steps between, at both stages: columns ``steps_between``, ``stage``, ``norm``."""
    rows = frames.joined(frame[frame["point.task"] == frame["point.task"].iloc[0]], "arm", *SPOKEN)
    kept = ["impl", "point.seed", "point.arm"]
    starts = {f"metric.{stage}.step": stage for stage in STAGES}
    columns = {
        name: (stage, int(name.removeprefix(start)))
        for start, stage in starts.items()
        for name in map(str, rows.columns)
        if name.startswith(start)
    }
    narrow = rows[[*kept, *columns]].melt(kept, var_name="column", value_name="norm").dropna()
    pairs = narrow["column"].map(columns)
    return narrow.assign(stage=pairs.str[0].map(STAGES), steps_between=pairs.str[1].astype(int))


STORY = Story(
    question="How far back does the loss of an output reach, through one context vector and through attention?",
    method=(
        "The encoder–decoder of `context-length`, with a fixed context (its first state alone, or also at each "
        "input and output) and with attention, additive and scaled. For held-out sequences of 20 symbols (or "
        "another `length`), and an output that is given the right symbols before it, the norm of the derivative of "
        "that output's loss at each state of the encoder, on all ways there are: through later states, through the "
        "context, through attention. Steps between: those of the encoder that are left after the state, and those "
        "of the decoder up to the output. Before any training and after `steps` updates (400 unless chosen "
        "otherwise)."
    ),
    findings=findings,
    claims=verdicts,
    figures=(
        Figure(
            "gradient-reach",
            "Gradient reach: the gradient of an output's loss at a state of the encoder",
            x="steps_between",
            y="norm",
            hue="point.arm",
            col="stage",
            log_y=True,
            x_label="recurrent steps from the state to the output",
            y_label="|∂loss/∂h|, mean",
            data=by_steps,
            caption=(
                "Median over seeds, and their middle half, of the mean norm over all pairs of an output and a state "
                "with so many steps between them. Where a line is level, distance costs nothing."
            ),
        ),
    ),
    limits=(
        "The derivative at one point, not how fast anything is learned. After training the losses of the arms differ, "
        "and with them the heights of their lines: compare slopes, not heights. After training attention's gradient "
        "lies where it looks, so that its line has the shape of the task as well as that of the way."
    ),
)

SUITE = ObservedSuite(
    name="gradient-reach",
    story=STORY,
    axes={
        "seed": tuple(range(8)),
        "task": ("reverse",),
        "arm": (FIXED, "input", ATTENDS, "scaled"),
        "steps": (400,),
        "length": (LONGEST,),
        "units": (translation.UNITS,),
    },
    observe=observe,
    implementations=("torch/naive",),
    tiers={
        "smoke": {"seed": (0, 1), "arm": (FIXED, ATTENDS), "steps": (20,)},
        "full": {"task": ("reverse", "copy", "sort"), "arm": tuple(translation.ARMS)},
    },
    levels={"steps": levels.STEPS, "length": Whole(ENDS, FARTHEST), "units": levels.UNITS},
)
