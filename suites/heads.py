"""How many heads, and how large? Vaswani et al. 2017, table 3, rows A and B: effects of 3 % and less.

One layer is asked for four keys at once. Row A: more heads, each smaller, of the same width together. Row B: smaller
queries and keys at one number of heads.
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
    UnsupportedError,
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

SLOTS, KEYS, QUESTIONS = 16, 64, 4
BATCH, EVERY = 64, 50
HELD_OUT = 512
ACCURACY = "accuracy"
# heads x size of a query and a key; the base is 8x8, as 8 heads of 64 are the base of the table.
BASE = "8x8"
ROW_A = ("1x64", "2x32", "4x16", BASE, "16x4", "32x2")
ROW_B = ("8x4", "8x2")
# What findings and verdicts speak of, where several were measured.
SPOKEN = {"slots": SLOTS, "units": retrieval.MODEL_SIZE}
FIRST = "A: heads of one width together"
TITLES = {FIRST: ROW_A, "B: size of a key at 8 heads": (BASE, *ROW_B)}


@lru_cache(maxsize=2)
def examples(task: tasks.RetrievalTask, seed: int, steps: int) -> tuple[list[tasks.Batch], tasks.Batch, tasks.Batch]:
    """Batches to train on, the validation set, the test set: the same for every split with this seed."""
    train = tasks.batches(task.draw(seed, "train", steps * BATCH), BATCH)
    return train, task.draw(seed, "validation", HELD_OUT), task.draw(seed, "test", HELD_OUT)


def sizes(split: str) -> tuple[int, int]:
    """Heads and head size of a level such as ``8x4``; ``UsageError`` for another text."""
    heads, _, d = split.partition("x")
    if not re.fullmatch("[1-9][0-9]{0,3}x[1-9][0-9]{0,3}", split):
        msg = f"a split is heads x head size, such as {BASE} or {ROW_B[0]}; got {split!r}"
        raise UsageError(msg)
    return int(heads), int(d)


def check_shared(split: str) -> None:
    """Raise ``UsageError`` for heads that cannot share the values, which are as wide as the model."""
    heads, width = sizes(split)[0], retrieval.MODEL_SIZE
    if width % heads:
        msg = f"{heads} heads do not share {width} components of values evenly; choose a divisor of {width}"
        raise UsageError(msg)


def observe(probe: Probe, seed: int, split: str, lr: float, steps: int, slots: int, units: int) -> dict[str, float]:
    """The share of right answers on the test set with the parameters that validation chose; the curve."""
    heads, d = sizes(split)
    if units % heads:
        msg = f"{heads} heads do not share {units} units evenly"
        raise UnsupportedError(msg)
    task = tasks.RetrievalTask(slots, KEYS, questions=QUESTIONS)
    train, validation, test = examples(task, seed, steps)
    model, parameters = retrieval.build_heads(heads, d, seed, task, model_size=units)
    learner = probe.learner(model, parameters, Optimiser("adam", lr))

    def right(learner: Any, data: tasks.Batch) -> float:
        return float((learner.predict(data)["tokens"] == data["target"]).mean())

    trained = training.fit(learner, train, lambda learning: right(learning, validation), EVERY)
    metrics = {ACCURACY: right(learner, test), "validation": trained.best, "parameters": training.count(parameters)}
    return metrics | trained.metrics()


def best(frame: Frame) -> Frame:
    """For each seed and split the row of the learning rate that validated best."""
    return frames.best_validated(frame, "split").sort_index()


def verdicts(frame: Frame) -> list[claims.ClaimVerdict]:
    """The family of three claims in each implementation."""
    judged = []
    for name, rows in frames.spoken(frames.measured(frame), **SPOKEN).groupby("impl", sort=False):
        chosen = best(rows)
        family = {
            "one-head-is-worse": contrasts.differences(chosen, ACCURACY, {"split": ROW_A[0]}, {"split": BASE}),
            "too-many-heads": contrasts.differences(chosen, ACCURACY, {"split": ROW_A[-1]}, {"split": BASE}),
            "small-keys-hurt": contrasts.differences(chosen, ACCURACY, {"split": ROW_B[-1]}, {"split": BASE}),
        }
        judged += contrasts.judge_family(family, (str(name),))
    return judged


def findings(frame: Frame) -> list[str]:
    """Accuracy by split at each learning rate, row by row."""
    ok = frames.spoken(frames.measured(frame), **SPOKEN)
    said = []
    for lr, rows in ok.groupby("point.lr", sort=False):
        means = rows.groupby("point.split", sort=False)[f"metric.{ACCURACY}"].mean()
        listed = ", ".join(f"{split} {mean:.3f}" for split, mean in means.items())
        said.append(f"Accuracy by heads x head size, learning rate {lr:g}: {listed}.")
    return [*said, *frames.unspoken(frame, **SPOKEN), *frames.shortfall(frame)]


def by_row(frame: Frame) -> Frame:
    """The rows by those of the table: columns ``row`` and ``level``, the base being in both."""
    rows = [
        [title for title, levels in TITLES.items() if split in levels or (split not in ROW_B and title == FIRST)]
        for split in frame["point.split"]
    ]
    named: Frame = frames.joined(frame, "lr", *SPOKEN)
    placed = named.assign(row=rows).explode("row")
    level = [sizes(split)[row != FIRST] for split, row in zip(placed["point.split"], placed["row"], strict=True)]
    return placed.assign(level=level)


STORY = Story(
    question="How many heads are best at one width, and how small may their keys be?",
    method=(
        "The retrieval model of `scaling`, scaled by 1/√d, with several heads: four keys are asked for at once "
        "among 16 `slots`, their embeddings side by side, and four values are to be named (each at random 1 in 32). "
        "Model and values are 64 `units` wide. Row A: 1 to 32 heads of 64 / heads components. Row B: 8 heads with "
        "queries and keys of 8, 4 and 2 components, and fewer parameters for it, as in the table. `steps` updates "
        "(400 unless chosen otherwise) of 64 examples by Adam; the parameters that validated best."
    ),
    findings=findings,
    claims=verdicts,
    figures=(
        Figure(
            "heads",
            "Test accuracy by the number of heads, and by the size of a key",
            x="level",
            y=f"metric.{ACCURACY}",
            hue="point.lr",
            col="row",
            log_x=True,
            x_label="heads (A), head size (B)",
            y_label="accuracy",
            data=by_row,
            caption="Median over seeds, and their middle half. Both rows hold the base, 8 heads of size 8.",
        ),
    ),
    limits=(
        "One layer on a task that asks for several places at once, which one head cannot give: how much a head is "
        "worth in translation is not asked. Row B has fewer parameters by design."
    ),
)

SUITE = ObservedSuite(
    name="heads",
    story=STORY,
    axes={
        "seed": tuple(range(8)),
        "split": (*ROW_A, *ROW_B),
        "lr": (3e-3,),
        "steps": (400,),
        "slots": (SLOTS,),
        "units": (retrieval.MODEL_SIZE,),
    },
    observe=observe,
    implementations=("torch/naive",),
    tiers={
        "smoke": {"seed": (0, 1), "split": ("1x64", BASE), "steps": (40,)},
        "full": {"lr": (3e-4, 1e-3, 3e-3, 1e-2)},
    },
    levels={
        "split": Spelled(check_shared, f"heads x head size, such as {BASE}"),
        "lr": Number(above=0, most=1),
        "steps": levels.STEPS,
        "slots": Whole(2, KEYS),
        "units": Whole(32, 1024, multiple_of=32),
    },
)
