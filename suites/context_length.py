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
    levels,
    tasks,
    training,
    translation,
)

SYMBOLS, SHORTEST, LONGEST = 16, 1, 20
LENGTHS = (5, 10, 15, 20, 25, 30, 40)
SHORT, FARTHEST = 5, 64
# What findings and verdicts speak of, where several were measured.
SPOKEN = {"length": LONGEST, "units": translation.UNITS}
BATCH, EVERY = 64, 200
RATE, CLIP = 5e-3, 1.0
HELD_OUT = 256
# Of so many examples of this length the weights are kept, to be looked at.
SHOWN, SHOWN_LENGTH = 2, 10
SYMBOL_NAMES = "abcdefghijklmnop"
CONTROLS = ("near", "aligned", "aligned_permuted", "aligned_uniform")


@lru_cache(maxsize=2)
def examples(
    task: str, seed: int, steps: int, longest: int
) -> tuple[list[tasks.Batch], tasks.Batch, dict[int, tasks.Batch]]:
    """Batches and validation set with lengths up to the trained one, and a test set for each length."""
    of = tasks.SequenceTask(task, SYMBOLS)
    train = tasks.batches(of.draw(seed, "train", steps * BATCH, SHORTEST, longest), BATCH)
    lengths = sorted({*LENGTHS, *looked_into(longest)})
    tests = {length: of.draw(seed, "test", HELD_OUT, length, length) for length in lengths}
    return train, of.draw(seed, "validation", HELD_OUT, SHORTEST, longest), tests


def looked_into(longest: int) -> tuple[int, ...]:
    """The lengths at which the weights are looked into: a short one, the longest trained one, and twice that."""
    return tuple(dict.fromkeys((SHORT, longest, min(2 * longest, FARTHEST))))


def observe(probe: Probe, seed: int, task: str, arm: str, steps: int, length: int, units: int) -> dict[str, float]:
    """Token accuracy of greedy decoding at each length, with the parameters that validation chose; the curve.

    With attention also ``aligned.lengthL``, the mean weight on the place of the source that an output comes from, and
    its controls (``attnbench.ablate.aligned``).
    """
    train, validation, tests = examples(task, seed, steps, length)
    model, parameters = translation.build(arm, seed, SYMBOLS, units=units)
    learner = probe.learner(model, parameters, Optimiser("adam", RATE, CLIP))

    def right(learning: Any, data: tasks.Batch) -> float:
        tokens = learning.predict(translation.as_read(arm, data))["tokens"]
        return training.token_accuracy(tokens, data["target"], data["lengths"])

    read = [translation.as_read(arm, batch) for batch in train]
    trained = training.fit(learner, read, lambda learning: right(learning, validation), EVERY)
    metrics = {f"accuracy.length{tested}": right(learner, data) for tested, data in tests.items()}
    for tested in looked_into(length) if model.spec else ():
        data = tests[tested]
        weights = learner.predict(translation.as_read(arm, data))["weights"]
        places = tasks.SequenceTask(task, SYMBOLS).alignment(data["source"], data["lengths"])
        metrics |= aligned.with_controls(f"length{tested}", weights, places, data["lengths"], seed)
    if model.spec and seed == alignments.SEED:
        metrics |= shown(learner, arm, tests[SHOWN_LENGTH])
    metrics["fall"] = metrics[f"accuracy.length{SHORT}"] - metrics[f"accuracy.length{length}"]
    return metrics | {"parameters": training.count(parameters)} | trained.metrics()


def shown(learner: Learner, arm: str, data: tasks.Batch) -> dict[str, float]:
    """Where the decoder looked in the first examples of a test set."""
    few = {name: array[:SHOWN] for name, array in data.items()}
    seen = learner.predict(translation.as_read(arm, few))
    lengths = few["lengths"].tolist()
    return alignments.metrics(seen["weights"], few["source"], seen["tokens"], lengths, lengths)


def looked_at(frame: Frame) -> Frame:
    """A row for each weight that was kept, on the first task."""
    first = frames.spoken(frame[frame["point.task"] == frame["point.task"].iloc[0]], **SPOKEN)
    return alignments.table(first, SYMBOL_NAMES, SYMBOL_NAMES)


def verdicts(frame: Frame) -> list[claims.ClaimVerdict]:
    """The family of six claims, and the one of alignment, on the reverse task, in each implementation."""
    judged = []
    asked_about = frames.spoken(frames.measured(frame, task="reverse"), **SPOKEN)
    for name, rows in asked_about.groupby("impl", sort=False):
        judged += contrasts.judge_family(family(rows), (str(name),))
        if f"metric.aligned_permuted.length{longest_in(rows)}" in rows:
            judged += contrasts.judge_family({"attention-aligns": beyond_chance(rows)}, (str(name),))
    return judged


def beyond_chance(rows: Frame, arm: str = "additive") -> contrasts.Contrast:
    """The weight on the right place at the longest trained length, less that of the same weights permuted."""
    length = f"length{longest_in(rows)}"
    return contrasts.between_metrics(rows, f"aligned.{length}", f"aligned_permuted.{length}", {"arm": arm})


def longest_in(rows: Frame) -> int:
    """The longest trained length that is spoken of."""
    return frames.level_to_speak_of(rows, "length", LONGEST)


def family(rows: Frame) -> dict[str, contrasts.Contrast]:
    """The contrasts named beforehand, at the longest trained length but for the falls from length 5 to it."""

    def at(length: int, over: str, under: str) -> contrasts.Contrast:
        return contrasts.differences(rows, f"accuracy.length{length}", {"arm": over}, {"arm": under})

    longest = longest_in(rows)
    return {
        "attention-beats-fixed": at(longest, "additive", "input"),
        "fixed-falls-with-length": contrasts.differences(rows, "fall", {"arm": "input"}, {"arm": "additive"}),
        "short-needs-no-attention": at(SHORT, "additive", "input"),
        "reversing-helps": at(longest, "input, reversed", "input"),
        "dot-beats-general": at(longest, "dot", "general"),
        "context-as-input-helps": at(longest, "input", "state"),
    }


def findings(frame: Frame) -> list[str]:
    """Accuracy by length for each task and arm; beyond the trained length too."""
    ok = frames.spoken(frames.measured(frame), **SPOKEN)
    said = []
    for task, rows in ok.groupby("point.task", sort=False):
        parts = [f"{arm} {' / '.join(_means(mine))}" for arm, mine in rows.groupby("point.arm", sort=False)]
        lengths, longest = " / ".join(map(str, LENGTHS)), longest_in(rows)
        said.append(f"Token accuracy on {task} by length {lengths}, trained up to {longest}: {'; '.join(parts)}.")
        said += _aligned(rows, longest)
    return [*said, *frames.unspoken(frame, **SPOKEN), *frames.shortfall(frame)]


def _aligned(rows: Frame, longest: int) -> list[str]:
    """What share of the weight lies on the right place at the longest trained length, by arm, with the controls."""
    whole = [f"metric.{name}.length{longest}" for name in CONTROLS]
    if whole[0] not in rows:
        return []
    columns = [column for column in whole if column in rows]
    means = rows.dropna(subset=columns).groupby("point.arm", sort=False)[columns].mean()
    said = f"The weight on the right place at length {longest}"
    if columns != whole:  # a run from before the controls
        listed = ", ".join(f"{arm} {mean:.2f}" for arm, mean in means[columns[0]].items())
        return [f"{said}: {listed}; uniform weights have {1 / longest:.2f}."]
    listed = "; ".join(f"{arm} {' / '.join(f'{mean:.2f}' for mean in values)}" for arm, *values in means.itertuples())
    moves = rows.dropna(subset=columns).groupby("point.arm", sort=False)[f"metric.monotone.length{longest}"].mean()
    order = ", ".join(f"{arm} {mean:.2f}" for arm, mean in moves.items())
    return [
        f"{said}, with its two neighbours / alone / with outputs permuted / uniform: {listed}.",
        f"How what is read moves as it writes at length {longest}, from -1 (backward) to 1 (forward): {order}.",
    ]


def _means(rows: Frame) -> list[str]:
    return [f"{rows[f'metric.accuracy.length{length}'].mean():.2f}" for length in LENGTHS]


def by_length(frame: Frame) -> Frame:
    """A row for each length: columns ``length`` and ``accuracy``."""
    kept = ["impl", "point.seed", "point.task", "point.arm"]
    prefix = "metric.accuracy.length"
    columns = {name: int(name.removeprefix(prefix)) for name in map(str, frame.columns) if name.startswith(prefix)}
    narrow = frames.joined(frame, "task", *SPOKEN)[[*kept, *columns]].rename(columns=columns)
    return narrow.melt(kept, var_name="length", value_name="accuracy").dropna().astype({"length": int})


def beside_controls(frame: Frame) -> Frame:
    """A row for each measure of the weights of the arms that attend: columns ``measure`` and ``weight``."""
    longest = longest_in(frame)
    names = {
        f"metric.{name}.length{longest}": words
        for name, words in zip(CONTROLS, ("with neighbours", "on the place", "permuted", "uniform"), strict=True)
    }
    kept = ["impl", "point.seed", "point.task", "point.arm"]
    chosen = frames.spoken(frame, **SPOKEN).reindex(columns=[*kept, *names])
    narrow = chosen.rename(columns=names).dropna()
    return narrow.melt(kept, var_name="measure", value_name="weight")


STORY = Story(
    question="Does a fixed context vector lose long sequences, and does attention keep them?",
    method=(
        "A bidirectional GRU reads a sequence of 1 to 20 symbols (another longest `length` may be chosen) and a GRU "
        "writes it reversed. Arms: only the encoder's last states start the decoder (state); they stand at each of "
        "its inputs and outputs besides (input); the same with the source read backwards (input, reversed); or "
        "attention over the encoder's states at each output, additive, dot, scaled or general. The arm dot has 64 "
        "`units`, unless others are chosen, and those of the other arms are such that all have the same number of "
        "parameters to 5 %. `steps` updates (1000 unless chosen otherwise) of 64 examples by Adam at 5e-3, "
        "gradients clipped at norm 1; the parameters that validated best decode greedily. The attention stands "
        "behind the decoder's GRU (Luong 2015), the same place for every score."
    ),
    findings=findings,
    claims=verdicts,
    figures=(
        Figure(
            "context-length",
            "Token accuracy against the length of the sequence",
            x="length",
            y="accuracy",
            hue="point.arm",
            col="point.task",
            x_label="length of what is tested",
            y_label="token accuracy, greedy decoding",
            data=by_length,
            caption=(
                f"Median over seeds, and their middle half. What lies beyond the trained length ({LONGEST} unless "
                "chosen otherwise) was never asked for in training."
            ),
        ),
        Figure(
            "context-length-alignment",
            "Weight on the right place at the longest trained length, and what of it is chance",
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
    axes={
        "seed": tuple(range(8)),
        "task": ("reverse",),
        "arm": tuple(translation.ARMS),
        "steps": (1000,),
        "length": (LONGEST,),
        "units": (translation.UNITS,),
    },
    observe=observe,
    implementations=("torch/naive",),
    tiers={
        "smoke": {"seed": (0, 1), "arm": ("input", "additive"), "steps": (50,)},
        "full": {"task": ("reverse", "copy", "sort")},
    },
    levels={"steps": levels.STEPS, "length": Whole(2, FARTHEST), "units": levels.UNITS},
)
