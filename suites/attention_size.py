"""What does the size of attention do to each score? Britz et al. 2017, table 6, and the row that it does not have.

Their multiplicative attention is unscaled. Here it stands beside the scaled one, additive attention and none.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from attnbench.api.suites import (
    Figure,
    Frame,
    Number,
    ObservedSuite,
    OneOf,
    Optimiser,
    Probe,
    Story,
    Whole,
    claims,
    contrasts,
    frames,
    levels,
    tasks,
    training,
    translation,
)

TASK = "reverse"
SYMBOLS, SHORTEST, LONGEST, FARTHEST = 16, 1, 10, 64
BATCH, EVERY = 64, 100
CLIP = 1.0
HELD_OUT = 256
# The arms of the encoder–decoder by the names that the table has for them.
ARMS = {"unscaled": "dot", "scaled": "scaled", "additive": "additive", "none": "state"}
ACCURACY = "accuracy"
# What findings and verdicts speak of, where several were measured.
SPOKEN = {"length": LONGEST, "units": translation.UNITS}


@lru_cache(maxsize=2)
def examples(task: str, seed: int, steps: int, longest: int) -> tuple[list[tasks.Batch], tasks.Batch, tasks.Batch]:
    """Batches and validation set with lengths up to the trained one, and a test set of that length."""
    of = tasks.SequenceTask(task, SYMBOLS)
    train = tasks.batches(of.draw(seed, "train", steps * BATCH, SHORTEST, longest), BATCH)
    validation = of.draw(seed, "validation", HELD_OUT, SHORTEST, longest)
    return train, validation, of.draw(seed, "test", HELD_OUT, longest, longest)


def observe(
    probe: Probe, seed: int, size: int, arm: str, lr: float, steps: int, task: str, length: int, units: int
) -> dict[str, float]:
    """Token accuracy of greedy decoding at the longest trained length, with the parameters that validation chose."""
    train, validation, test = examples(task, seed, steps, length)
    model, parameters = translation.build(ARMS.get(arm, arm), seed, SYMBOLS, units=units, attention_size=size)
    learner = probe.learner(model, parameters, Optimiser("adam", lr, CLIP))

    def right(learning: Any, data: tasks.Batch) -> float:
        return training.token_accuracy(learning.predict(data)["tokens"], data["target"], data["lengths"])

    trained = training.fit(learner, train, lambda learning: right(learning, validation), EVERY)
    metrics = {ACCURACY: right(learner, test), "validation": trained.best, "parameters": training.count(parameters)}
    return metrics | trained.metrics()


def best(frame: Frame) -> Frame:
    """For each seed, size and arm the row of the learning rate that validated best."""
    return frames.best_validated(frame, "size", "arm").sort_index()


def verdicts(frame: Frame) -> list[claims.ClaimVerdict]:
    """The family of five claims in each implementation."""
    judged = []
    for name, rows in _spoken(frame).groupby("impl", sort=False):
        judged += contrasts.judge_family(family(best(rows)), (str(name),))
    return judged


def _spoken(frame: Frame) -> Frame:
    """What is measured on the first task, at one length and with one number of units."""
    ok = frames.measured(frame)
    first = ok[ok["point.task"] == ok["point.task"].iloc[0]] if "point.task" in ok and len(ok) else ok
    return frames.spoken(first, **SPOKEN)


def family(rows: Frame) -> dict[str, contrasts.Contrast]:
    """The contrasts named beforehand: the largest size less the smallest in each arm, and arms at one size."""
    sizes = frames.levels(rows, "size")
    small, large = min(sizes), max(sizes)

    def of(over: dict[str, Any], under: dict[str, Any]) -> contrasts.Contrast:
        return contrasts.differences(rows, ACCURACY, over, under)

    def grown(arm: str) -> contrasts.Contrast:
        return of({"arm": arm, "size": large}, {"arm": arm, "size": small}) if small < large else contrasts.Contrast(())

    return {
        "large-multiplicative-falls": grown("unscaled"),
        "large-additive-holds": grown("additive"),
        "large-multiplicative-behind": of({"arm": "unscaled", "size": large}, {"arm": "additive", "size": large}),
        "large-scaled-keeps-up": of({"arm": "scaled", "size": large}, {"arm": "additive", "size": large}),
        "attention-beats-none": of({"arm": "additive", "size": small}, {"arm": "none", "size": small}),
    }


def findings(frame: Frame) -> list[str]:
    """The table: accuracy by size for each arm at each learning rate."""
    ok = _spoken(frame)
    said = []
    for lr, rows in ok.groupby("point.lr", sort=False):
        sizes = sorted(frames.levels(rows, "size"))
        listed = "; ".join(f"{arm} {' / '.join(_means(rows, arm, sizes))}" for arm in frames.levels(rows, "arm"))
        by = " / ".join(map(str, sizes))
        length = frames.level_to_speak_of(rows, "length", LONGEST)
        said.append(f"Token accuracy at length {length} by attention size {by}, learning rate {lr:g}: {listed}.")
    return [*said, *frames.unspoken(frame, **SPOKEN), *frames.shortfall(frame)]


def by_arm(frame: Frame) -> Frame:
    """The rows, with the task, the length and the units behind the arm where several were measured."""
    return frames.joined(_with_task(frame), "arm", *SPOKEN)


def _with_task(frame: Frame) -> Frame:
    if "point.task" not in frame or len(frame["point.task"].unique()) == 1:
        return frame
    return frame.assign(**{"point.arm": frame["point.arm"] + ", " + frame["point.task"]})


def _means(rows: Frame, arm: str, sizes: list[int]) -> list[str]:
    accuracies = [frames.measured(rows, arm=arm, size=size)[f"metric.{ACCURACY}"] for size in sizes]
    return [f"{values.mean():.3f}" if len(values) else "–" for values in accuracies]


STORY = Story(
    question="What does the size of attention do to each score, and does the scaled one keep up?",
    method=(
        "The encoder–decoder of `context-length` (64 `units`) learns to reverse up to 10 symbols (another `task` and "
        "`length` may be chosen). Size n: projections of "
        "the decoder's and the encoder's states to n components stand before the dot product, unscaled (Britz's "
        "multiplicative attention) or scaled by 1/√n; additive attention has n hidden units; the arm without attention "
        "has as many more units as make its parameters equal in number, to 5 % at each size. `steps` updates (300 "
        "unless chosen otherwise) of 64 examples by Adam, gradients clipped at norm 1; greedy decoding."
    ),
    findings=findings,
    claims=verdicts,
    figures=(
        Figure(
            "attention-size",
            "Token accuracy at the longest trained length against the size of attention",
            x="point.size",
            y=f"metric.{ACCURACY}",
            hue="point.arm",
            col="point.lr",
            log_x=True,
            x_label="attention size",
            y_label="token accuracy, greedy decoding",
            data=by_arm,
            caption="Median over seeds, and their middle half. Without attention the size is that of the parameters.",
        ),
    ),
    limits=(
        "A small model on a synthetic task: the published row falls at 1024, twice the units of their states, and four "
        "times these are asked about here. One learning rate in the standard tier; the full tier has two, and 1024."
    ),
)

SUITE = ObservedSuite(
    name="attention-size",
    story=STORY,
    axes={
        "seed": tuple(range(8)),
        "size": (16, 64, 256),
        "arm": tuple(ARMS),
        "lr": (5e-3,),
        "steps": (300,),
        "task": (TASK,),
        "length": (LONGEST,),
        "units": (translation.UNITS,),
    },
    observe=observe,
    implementations=("torch/naive",),
    tiers={
        "smoke": {"seed": (0, 1), "size": (64,), "arm": ("unscaled", "scaled"), "steps": (20,)},
        "full": {"size": (16, 64, 256, 1024), "lr": (1e-3, 5e-3)},
    },
    levels={
        "size": Whole(1, 4096),
        "lr": Number(above=0, most=1),
        "steps": levels.STEPS,
        "task": OneOf(*tasks.ANSWERS),
        "length": Whole(1, FARTHEST),
        "units": levels.UNITS,
    },
)
