"""Does a fixed context vector lose long sequences, and does attention keep them? Bahdanau, Cho, Bengio 2014."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from attnbench.api.suites import (
    Figure,
    Frame,
    Learner,
    ObservedSuite,
    Optimiser,
    Probe,
    Story,
    Whole,
    aligned,
    alignments,
    claims,
    contrasts,
    frames,
    tasks,
    training,
    translation,
)

SYMBOLS, SHORTEST, LONGEST = 16, 1, 20
LENGTHS = (5, 10, 15, 20, 25, 30, 40)
ALIGNED = (5, 20, 40)
BATCH, EVERY = 64, 200
RATE, CLIP = 5e-3, 1.0
HELD_OUT = 256
# Of so many examples of this length the weights are kept, to be looked at.
SHOWN, SHOWN_LENGTH = 2, 10
SYMBOL_NAMES = "abcdefghijklmnop"
CONTROLS = ("near", "aligned", "aligned_permuted", "aligned_uniform")


@lru_cache(maxsize=2)
def examples(task: str, seed: int, steps: int) -> tuple[list[tasks.Batch], tasks.Batch, dict[int, tasks.Batch]]:
    """Batches and validation set with lengths up to the trained one, and a test set for each length."""
    of = tasks.SequenceTask(task, SYMBOLS)
    train = tasks.batches(of.draw(seed, "train", steps * BATCH, SHORTEST, LONGEST), BATCH)
    tests = {length: of.draw(seed, "test", HELD_OUT, length, length) for length in LENGTHS}
    return train, of.draw(seed, "validation", HELD_OUT, SHORTEST, LONGEST), tests


def observe(probe: Probe, seed: int, task: str, arm: str, steps: int) -> dict[str, float]:
    """Token accuracy of greedy decoding at each length, with the parameters that validation chose; the curve.

    With attention also ``aligned.lengthL``, the mean weight on the place of the source that an output comes from, and
    its controls (``attnbench.ablate.aligned``).
    """
    train, validation, tests = examples(task, seed, steps)
    model, parameters = translation.build(arm, seed, SYMBOLS)
    learner = probe.learner(model, parameters, Optimiser("adam", RATE, CLIP))

    def right(learning: Any, data: tasks.Batch) -> float:
        tokens = learning.predict(translation.as_read(arm, data))["tokens"]
        return training.token_accuracy(tokens, data["target"], data["lengths"])

    read = [translation.as_read(arm, batch) for batch in train]
    trained = training.fit(learner, read, lambda learning: right(learning, validation), EVERY)
    metrics = {f"accuracy.length{length}": right(learner, data) for length, data in tests.items()}
    for length in ALIGNED if model.spec else ():
        data = tests[length]
        weights = learner.predict(translation.as_read(arm, data))["weights"]
        places = tasks.SequenceTask(task, SYMBOLS).alignment(data["source"], data["lengths"])
        metrics |= aligned.with_controls(f"length{length}", weights, places, data["lengths"], seed)
    if model.spec and seed == alignments.SEED:
        metrics |= shown(learner, arm, tests[SHOWN_LENGTH])
    metrics["fall"] = metrics["accuracy.length5"] - metrics["accuracy.length20"]
    return metrics | {"parameters": training.count(parameters)} | trained.metrics()


def shown(learner: Learner, arm: str, data: tasks.Batch) -> dict[str, float]:
    """Where the decoder looked in the first examples of a test set."""
    few = {name: array[:SHOWN] for name, array in data.items()}
    seen = learner.predict(translation.as_read(arm, few))
    lengths = few["lengths"].tolist()
    return alignments.metrics(seen["weights"], few["source"], seen["tokens"], lengths, lengths)


def looked_at(frame: Frame) -> Frame:
    """A row for each weight that was kept, on the first task."""
    first = frame[frame["point.task"] == frame["point.task"].iloc[0]]
    return alignments.table(first, SYMBOL_NAMES, SYMBOL_NAMES)


def verdicts(frame: Frame) -> list[claims.ClaimVerdict]:
    """The family of six claims, and the one of alignment, on the reverse task, in each implementation."""
    judged = []
    for name, rows in frames.measured(frame, task="reverse").groupby("impl", sort=False):
        judged += contrasts.judge_family(family(rows), (str(name),))
        if f"metric.aligned_permuted.length{LONGEST}" in rows:
            judged += contrasts.judge_family({"attention-aligns": beyond_chance(rows)}, (str(name),))
    return judged


def beyond_chance(rows: Frame, arm: str = "additive") -> contrasts.Contrast:
    """The weight on the right place at the longest trained length, less that of the same weights permuted."""
    return contrasts.between_metrics(
        rows, f"aligned.length{LONGEST}", f"aligned_permuted.length{LONGEST}", {"arm": arm}
    )


def family(rows: Frame) -> dict[str, contrasts.Contrast]:
    """The contrasts named beforehand, at the longest trained length but for the falls from length 5 to it."""

    def at(length: int, over: str, under: str) -> contrasts.Contrast:
        return contrasts.differences(rows, f"accuracy.length{length}", {"arm": over}, {"arm": under})

    return {
        "attention-beats-fixed": at(LONGEST, "additive", "input"),
        "fixed-falls-with-length": contrasts.differences(rows, "fall", {"arm": "input"}, {"arm": "additive"}),
        "short-needs-no-attention": at(5, "additive", "input"),
        "reversing-helps": at(LONGEST, "input, reversed", "input"),
        "dot-beats-general": at(LONGEST, "dot", "general"),
        "context-as-input-helps": at(LONGEST, "input", "state"),
    }


def findings(frame: Frame) -> list[str]:
    """Accuracy by length for each task and arm; beyond the trained length too."""
    ok = frames.measured(frame)
    said = []
    for task, rows in ok.groupby("point.task", sort=False):
        parts = [f"{arm} {' / '.join(_means(mine))}" for arm, mine in rows.groupby("point.arm", sort=False)]
        lengths = " / ".join(map(str, LENGTHS))
        said.append(f"Token accuracy on {task} by length {lengths}, trained up to {LONGEST}: {'; '.join(parts)}.")
        said += _aligned(rows)
    return [*said, *frames.shortfall(frame)]


def _aligned(rows: Frame) -> list[str]:
    """What share of the weight lies on the right place at the longest trained length, by arm, with the controls."""
    whole = [f"metric.{name}.length{LONGEST}" for name in CONTROLS]
    if whole[0] not in rows:
        return []
    columns = [column for column in whole if column in rows]
    means = rows.dropna(subset=columns).groupby("point.arm", sort=False)[columns].mean()
    said = f"The weight on the right place at length {LONGEST}"
    if columns != whole:  # a run from before the controls
        listed = ", ".join(f"{arm} {mean:.2f}" for arm, mean in means[columns[0]].items())
        return [f"{said}: {listed}; uniform weights have {1 / LONGEST:.2f}."]
    listed = "; ".join(f"{arm} {' / '.join(f'{mean:.2f}' for mean in values)}" for arm, *values in means.itertuples())
    moves = rows.dropna(subset=columns).groupby("point.arm", sort=False)[f"metric.monotone.length{LONGEST}"].mean()
    order = ", ".join(f"{arm} {mean:.2f}" for arm, mean in moves.items())
    return [
        f"{said}, with its two neighbours / alone / with outputs permuted / uniform: {listed}.",
        f"How what is read moves as it writes at length {LONGEST}, from -1 (backward) to 1 (forward): {order}.",
    ]


def _means(rows: Frame) -> list[str]:
    return [f"{rows[f'metric.accuracy.length{length}'].mean():.2f}" for length in LENGTHS]


def by_length(frame: Frame) -> Frame:
    """A row for each length: columns ``length`` and ``accuracy``."""
    kept = ["impl", "point.seed", "point.task", "point.arm"]
    columns = {f"metric.accuracy.length{length}": length for length in LENGTHS}
    narrow = frame[[*kept, *columns]].rename(columns=columns)
    return narrow.melt(kept, var_name="length", value_name="accuracy").astype({"length": int})


def beside_controls(frame: Frame) -> Frame:
    """A row for each measure of the weights of the arms that attend: columns ``measure`` and ``weight``."""
    names = {
        f"metric.{name}.length{LONGEST}": words
        for name, words in zip(CONTROLS, ("with neighbours", "on the place", "permuted", "uniform"), strict=True)
    }
    kept = ["impl", "point.seed", "point.task", "point.arm"]
    narrow = frame.reindex(columns=[*kept, *names]).rename(columns=names).dropna()
    return narrow.melt(kept, var_name="measure", value_name="weight")


STORY = Story(
    question="Does a fixed context vector lose long sequences, and does attention keep them?",
    method=(
        "A bidirectional GRU reads a sequence of 1 to 20 symbols and a GRU writes it reversed. Arms: only the "
        "encoder's last states start the decoder (state); they stand at each of its inputs and outputs besides "
        "(input); the same with the source read backwards (input, reversed); or attention over the encoder's states "
        "at each output, additive, dot, scaled or general. Units are chosen so that all arms have the same number of "
        "parameters to 5 %. `steps` updates (1000 unless chosen otherwise) of 64 examples by Adam at 5e-3, gradients "
        "clipped at norm 1; the parameters that validated best decode greedily. The attention stands behind the "
        "decoder's GRU (Luong 2015), the same place for every score."
    ),
    findings=findings,
    claims=verdicts,
    figures=(
        Figure(
            "context-length",
            f"Token accuracy against the length of the sequence; trained up to {LONGEST}",
            x="length",
            y="accuracy",
            hue="point.arm",
            col="point.task",
            x_label=f"length (trained up to {LONGEST})",
            y_label="token accuracy, greedy decoding",
            data=by_length,
            caption=(
                "Median over seeds, and their middle half. What lies beyond the trained length was never asked "
                "for in training."
            ),
        ),
        Figure(
            "context-length-alignment",
            f"Weight on the right place at length {LONGEST}, and what of it is chance",
            x="point.arm",
            y="weight",
            hue="measure",
            col="point.task",
            kind="bar",
            x_label="score",
            y_label="mean weight",
            data=beside_controls,
            caption=(
                "Median over seeds. Permuted: the same weights, the outputs of an example in another order. The states "
                "of the encoder know their neighbours, so that attending beside the place can be right too; with "
                "neighbours chance is three times as much."
            ),
        ),
        Figure(
            "context-length-attention",
            "Where the decoder looks",
            x="source",
            y="output",
            hue="weight",
            row="example",
            col="arm",
            kind="heat",
            x_text="letter",
            y_text="answer",
            x_label="read",
            y_label="written",
            data=looked_at,
            caption=(
                "The weights of the same held-out examples in the training with seed 0 of each arm that attends. A row "
                "is one symbol that was written, and how bright a place is says how much of its attention lay there. "
                "What reverses walks from the upper right to the lower left."
            ),
        ),
    ),
    limits=(
        "Synthetic sequences, one learning rate, and a fixed number of updates: a fixed context vector would get "
        "further with more of both. It says how fast accuracy falls with length, not how translation does."
    ),
)

SUITE = ObservedSuite(
    name="context-length",
    story=STORY,
    axes={"seed": tuple(range(8)), "task": ("reverse",), "arm": tuple(translation.ARMS), "steps": (1000,)},
    observe=observe,
    implementations=("torch/naive",),
    tiers={
        "smoke": {"seed": (0, 1), "arm": ("input", "additive"), "steps": (50,)},
        "full": {"task": ("reverse", "copy", "sort")},
    },
    levels={"steps": Whole(1, 100_000)},
)
