"""Where does the scale of a score live, and what does training make of its absence? Vaswani et al. 2017, section 3.2.1.

The analytic suites show what an unscaled score does at a random initialisation. Here one head learns to look up the
value beside a key among sixteen slots, at every learning rate of a grid.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from attnbench.api.suites import (
    Figure,
    Frame,
    Number,
    ObservedSuite,
    Optimiser,
    Probe,
    Spelled,
    Story,
    UsageError,
    Whole,
    claims,
    contrasts,
    frames,
    levels,
    retrieval,
    tasks,
    training,
)

SLOTS, KEYS = 16, 64
# What findings and verdicts speak of, where several were measured.
SPOKEN = {"slots": SLOTS, "units": retrieval.MODEL_SIZE}
BATCH, EVERY = 64, 50
HELD_OUT = 1024
ACCURACY = "accuracy"
ARMS = ("unscaled", "1/sqrt(d)", "folded", "additive")
MORE_ARMS = ("8/d", "folded and scaled", "sqrt(d_model)", "qk-norm", "softcap")


@lru_cache(maxsize=2)
def examples(task: tasks.RetrievalTask, seed: int, steps: int) -> tuple[list[tasks.Batch], tasks.Batch, tasks.Batch]:
    """Batches to train on, the validation set, the test set: the same for every arm with this seed."""
    train = tasks.batches(task.draw(seed, "train", steps * BATCH), BATCH)
    return train, task.draw(seed, "validation", HELD_OUT), task.draw(seed, "test", HELD_OUT)


def optimiser_of(level: str, lr: float) -> Optimiser:
    """Such as ``adam``, or ``sgd*100``: at a hundred times the learning rate of the point.

    Plain gradient descent needs larger steps than Adam, and so its grid is shifted. ``UsageError`` for another text.
    """
    name, _, factor = level.partition("*")
    if level.endswith("*") or (factor and not re.fullmatch("[1-9][0-9]{0,4}", factor)):
        msg = f"an optimiser is a name, or one with a factor for the learning rate, such as sgd*100; got {level!r}"
        raise UsageError(msg)
    return Optimiser(name, lr * int(factor or 1))


def observe(
    probe: Probe, seed: int, d: int, arm: str, lr: float, optimiser: str, steps: int, slots: int, units: int
) -> dict[str, float]:
    """Accuracy on the test set with the parameters that validation chose, the curve, and the variances at step 0."""
    task = tasks.RetrievalTask(slots, KEYS)
    train, validation, test = examples(task, seed, steps)
    model, parameters = retrieval.build(arm, d, seed, task, model_size=units)
    learner = probe.learner(model, parameters, optimiser_of(optimiser, lr))

    def right(learner: Any, data: tasks.Batch) -> float:
        return float((learner.predict(data)["tokens"] == data["target"]).mean())

    trained = training.fit(learner, train, lambda learning: right(learning, validation), EVERY)
    metrics = {ACCURACY: right(learner, test), "validation": trained.best, "parameters": training.count(parameters)}
    return metrics | retrieval.first_variances(parameters, train[0]) | trained.metrics()


def with_adam(frame: Frame) -> Frame:
    """The rows of Adam; all of them where there are none."""
    rows = frame[frame["point.optimiser"] == "adam"]
    return frames.joined(rows if len(rows) else frame, "arm", *SPOKEN)


def by_arm(frame: Frame) -> Frame:
    """The rows, with the slots and the units behind the arm where several were measured."""
    return frames.joined(frame, "arm", *SPOKEN)


def best(frame: Frame) -> Frame:
    """For each seed, arm, d and optimiser the row of the learning rate that validated best."""
    return frames.best_validated(frame, "d", "arm", "optimiser")


def verdicts(frame: Frame) -> list[claims.ClaimVerdict]:
    """The family of five claims, of Adam alone, in each implementation."""
    judged = []
    for name, rows in frames.spoken(frames.measured(frame, optimiser="adam"), **SPOKEN).groupby("impl", sort=False):
        judged += contrasts.judge_family(family(rows), (str(name),))
    return judged


def family(rows: Frame) -> dict[str, contrasts.Contrast]:
    """The contrasts named beforehand: the grid's mean at the largest d, the best of the grid at both ends."""
    sizes = frames.levels(rows, "d")
    large, small = {"d": max(sizes)}, {"d": min(sizes)}
    chosen = best(rows)

    def of(rows: Frame, over: str, under: str, where: dict[str, Any]) -> contrasts.Contrast:
        return contrasts.differences(rows, ACCURACY, {"arm": over, **where}, {"arm": under, **where})

    return {
        "scale-helps-training": of(rows, "1/sqrt(d)", "unscaled", large),
        "additive-beats-unscaled": of(rows, "additive", "unscaled", large),
        "similar-when-small": of(chosen, "additive", "unscaled", small),
        "unscaled-falls-behind": of(chosen, "unscaled", "additive", large),
        "scaled-row-is-missing": of(chosen, "1/sqrt(d)", "additive", large),
    }


def findings(frame: Frame) -> list[str]:
    """The whole grid at the largest d, and what folding costs at the highest rate."""
    ok = frames.spoken(frames.measured(frame), **SPOKEN)
    if ok.empty:
        return frames.shortfall(frame)
    parts = list(ok.groupby("point.optimiser", sort=False))
    said = [_grid(rows, str(optimiser)) for optimiser, rows in parts]
    more = [_sensitivity(rows, str(optimiser)) for optimiser, rows in parts if len(frames.levels(rows, "lr")) > 1]
    return [*said, *_folding(ok), *more, *frames.unspoken(frame, **SPOKEN), *frames.shortfall(frame)]


def _grid(rows: Frame, optimiser: str) -> str:
    d = max(frames.levels(rows, "d"))
    rates = sorted(frames.levels(rows, "lr"))
    parts = []
    for arm in frames.levels(rows, "arm"):
        means = [frames.measured(rows, d=d, arm=arm, lr=lr)[f"metric.{ACCURACY}"].mean() for lr in rates]
        parts.append(f"{arm} {' / '.join(f'{mean:.2f}' for mean in means)}")
    listed = " / ".join(f"{lr:g}" for lr in rates)
    return f"Accuracy at d = {d:g} with {optimiser}, by learning rate {listed}: {'; '.join(parts)}."


def _sensitivity(rows: Frame, optimiser: str) -> str:
    """What is lost by not tuning: accuracy at the best learning rate less the mean over the grid."""
    d = max(frames.levels(rows, "d"))
    means = frames.measured(rows, d=d).groupby(["point.arm", "point.lr"], sort=False)[f"metric.{ACCURACY}"].mean()
    lost = (means.groupby("point.arm").max() - means.groupby("point.arm").mean()).sort_values()
    listed = ", ".join(f"{arm} {value:.2f}" for arm, value in lost.items())
    return (
        f"Sensitivity to the learning rate at d = {d:g} with {optimiser} (accuracy at the best rate of the grid, less "
        f"the mean over the grid), least first: {listed}."
    )


def _folding(ok: Frame) -> list[str]:
    where = {"d": max(frames.levels(ok, "d")), "lr": max(frames.levels(ok, "lr"))}
    contrast = contrasts.differences(
        ok[ok["point.optimiser"] == "adam"], ACCURACY, {"arm": "folded", **where}, {"arm": "1/sqrt(d)", **where}
    )
    if not contrast.differences:
        return []
    said = (
        f"The scale folded into the initialisation, less the scale itself, at d = {where['d']:g} and learning rate "
        f"{where['lr']:g}: accuracy {contrasts.text(contrast)}. Both compute the same at step 0."
    )
    return [said]


STORY = Story(
    question="What does training make of an unscaled score, and can the scale live in the initialisation?",
    method=(
        "One head looks up the value beside a key among 16 `slots` (64 keys, 32 values; chance is 1/32), in a model of "
        "64 `units`. All arms share "
        "their data and, name by name, their first parameters, of which components of q and k have variance 1 (logged "
        "as q_variance and k_variance); numbers of parameters differ by less than 5 %. `steps` updates (400 unless "
        "chosen otherwise) of 64 examples, nothing clipped; the parameters that validated best are tested on examples "
        "that the split keeps apart. Every learning rate is shown. Differences are paired by seed, with BCa intervals "
        "and exact sign-flip tests, Holm over the family of five."
    ),
    findings=findings,
    claims=verdicts,
    figures=(
        Figure(
            "scaling-grid",
            "Test accuracy by head size and learning rate",
            x="point.d",
            y="point.lr",
            hue=f"metric.{ACCURACY}",
            col="point.arm",
            kind="heat",
            x_label="head size d",
            y_label="learning rate",
            data=with_adam,
            caption="Median over seeds. An arm that needs no tuning is bright everywhere.",
        ),
        Figure(
            "scaling-sensitivity",
            "Test accuracy against the learning rate",
            x="point.lr",
            y=f"metric.{ACCURACY}",
            hue="point.arm",
            row="point.optimiser",
            col="point.d",
            log_x=True,
            x_label="learning rate",
            y_label="accuracy",
            data=by_arm,
            caption="Median over seeds, and their middle half. sgd*100 takes a hundred times the rate shown.",
        ),
    ),
    limits=(
        "A small task and a short training: it shows how the arms differ in how easily they learn, not what a large "
        "model ends at, and no BLEU. The order of arms at one learning rate alone can be any."
    ),
)

SUITE = ObservedSuite(
    name="scaling",
    story=STORY,
    axes={
        "seed": tuple(range(8)),
        "d": (16, 64, 256),
        "arm": ARMS,
        "lr": (3e-4, 1e-3, 1e-2),
        "optimiser": ("adam",),
        "steps": (400,),
        "slots": (SLOTS,),
        "units": (retrieval.MODEL_SIZE,),
    },
    levels={
        "d": Whole(1, 4096),
        "lr": Number(above=0, most=1),
        "optimiser": Spelled(lambda level: optimiser_of(level, 1e-3), "optimisers, such as adam or sgd*100"),
        "steps": levels.STEPS,
        "slots": Whole(2, KEYS),
        "units": levels.UNITS,
    },
    observe=observe,
    implementations=("torch/naive",),
    tiers={
        "smoke": {"seed": (0, 1), "d": (256,), "arm": ("unscaled", "1/sqrt(d)"), "lr": (1e-2,), "steps": (100,)},
        "full": {"arm": (*ARMS, *MORE_ARMS), "lr": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2), "optimiser": ("adam", "sgd*100")},
    },
)
