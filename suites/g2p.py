"""What attention is worth on real words: letters to phones, by a fixed context vector and by attention.

Bahdanau, Cho, Bengio 2014 show BLEU against the length of a sentence; here it is the phone error rate against the
length of a word, on the CMU Pronouncing Dictionary.
"""

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
    aligned,
    alignments,
    claims,
    contrasts,
    frames,
    levels,
    pronunciation,
    tasks,
    training,
    translation,
)

WORDS, HELD_OUT, TESTED = 20_000, 500, 2_000
BATCH, EVERY = 128, 200
RATE, CLIP = 5e-3, 1.0
# Letters of short, middle and long words; about a fifth, a half and a third of all.
LENGTHS = {"short": (3, 5), "middle": (6, 8), "long": (9, pronunciation.LONGEST)}
# Of so many test words with so many letters the weights are kept, to be looked at.
SHOWN, SHOWN_LETTERS = 2, (8, 10)
ATTENDS, FIXED = "additive", "state"
# What findings and verdicts speak of, where several were measured.
SPOKEN = {"units": translation.UNITS}
Entries = list[pronunciation.Entry]
ORDER = ("metric.monotone.words", "metric.monotone_permuted.words")


@lru_cache(maxsize=1)
def examples(seed: int, steps: int) -> tuple[list[tasks.Batch], Entries, Entries]:
    """Batches to train on, and the words to validate and to test with: the same for every arm with this seed."""
    train = pronunciation.drawn(seed, "train", WORDS)
    batches = list(pronunciation.epochs(seed, train, BATCH, steps))
    return batches, pronunciation.drawn(seed, "validation", HELD_OUT), pronunciation.drawn(seed, "test", TESTED)


def observe(probe: Probe, seed: int, arm: str, steps: int, units: int) -> dict[str, float]:
    """PER and WER in per cent of greedy decoding, by length too, with the parameters that validated best."""
    batches, validation, test = examples(seed, steps)
    letters, phones = len(pronunciation.LETTERS), pronunciation.ANSWERS
    model, parameters = translation.build(arm, seed, letters, answers=phones, units=units)
    learner = probe.learner(model, parameters, Optimiser("adam", RATE, CLIP))

    def accuracy(learning: Learner) -> float:
        return max(0.0, 1.0 - spoken(learning, validation).rates()[0] / 100.0)

    trained = training.fit(learner, batches, accuracy, EVERY)
    metrics = by_length(spoken(learner, test))
    if model.spec:
        metrics |= order(learner, test, seed)
    if model.spec and seed == alignments.SEED:
        metrics |= shown(learner, test)
    return metrics | {"parameters": training.count(parameters)} | trained.metrics()


def spoken(learner: Learner, entries: Entries) -> pronunciation.Errors:
    """The errors in what a learner writes for these words."""
    batch = pronunciation.wide(pronunciation.batch(entries))
    return pronunciation.errors(pronunciation.until_end(learner.predict(batch)["tokens"]), entries)


def order(learner: Learner, entries: Entries, seed: int) -> dict[str, float]:
    """``monotone.words`` and ``monotone_permuted.words``: whether what is read moves forward as it speaks.

    Of what is written before the end, right or wrong.
    """
    seen = learner.predict(pronunciation.wide(pronunciation.batch(entries)))
    outputs = [len(phones) for phones in pronunciation.until_end(seen["tokens"])]
    return aligned.order("words", seen["weights"], outputs, seed)


def by_length(errors: pronunciation.Errors) -> dict[str, float]:
    """``per``, ``wer``, the same by length (``per.long``), and ``growth``: PER of long words less of short."""
    metrics = dict(zip(("per", "wer"), errors.rates(), strict=True))
    for name, (shortest, longest) in LENGTHS.items():
        metrics |= zip((f"per.{name}", f"wer.{name}"), errors.rates(shortest, longest), strict=True)
    return metrics | {"growth": metrics["per.long"] - metrics["per.short"]}


def shown(learner: Learner, entries: Entries) -> dict[str, float]:
    """Where the decoder looked in the first test words of some length."""
    low, high = SHOWN_LETTERS
    few = [entry for entry in entries if low <= len(entry.word) <= high][:SHOWN]
    batch = pronunciation.wide(pronunciation.batch(few))
    seen = learner.predict(batch)
    outputs = [
        len(phones) + (len(phones) < pronunciation.LONGEST) for phones in pronunciation.until_end(seen["tokens"])
    ]
    return alignments.metrics(seen["weights"], batch["source"], seen["tokens"], batch["lengths"].tolist(), outputs)


def looked_at(frame: Frame) -> Frame:
    """A row for each weight that was kept."""
    return alignments.table(frames.spoken(frame, **SPOKEN), pronunciation.LETTERS, (*pronunciation.PHONES, "·"))


def verdicts(frame: Frame) -> list[claims.ClaimVerdict]:
    """The family of three claims, and the one of alignment, in each implementation."""
    judged = []
    for name, rows in frames.spoken(frames.measured(frame), **SPOKEN).groupby("impl", sort=False):
        judged += contrasts.judge_family(family(rows), (str(name),))
        if ORDER[0] in rows:
            moved = contrasts.between_metrics(rows, "monotone.words", "monotone_permuted.words", {"arm": ATTENDS})
            judged += contrasts.judge_family({"alignment-is-monotone": moved}, (str(name),))
    return judged


def family(rows: Frame) -> dict[str, contrasts.Contrast]:
    """The contrasts named beforehand."""

    def of(metric: str, over: str, under: str) -> contrasts.Contrast:
        return contrasts.differences(rows, metric, {"arm": over}, {"arm": under})

    return {
        "attention-speaks-better": of("per", FIXED, ATTENDS),
        "gap-grows-with-words": of("growth", FIXED, ATTENDS),
        "scores-speak-alike": of("per", "scaled", ATTENDS),
    }


def findings(frame: Frame) -> list[str]:
    """PER by length of each arm, WER, the gap by length."""
    ok = frames.spoken(frames.measured(frame), **SPOKEN)
    if ok.empty:
        return frames.shortfall(frame)
    arms = list(ok.groupby("point.arm", sort=False))
    said = [
        _listed("PER", "per", arms) + "; by length of the word, "
        f"{' / '.join(f'{low} to {high}' for low, high in LENGTHS.values())} letters: "
        + "; ".join(f"{arm} {' / '.join(_means(rows, 'per.'))}" for arm, rows in arms)
        + ".",
        _listed("WER", "wer", arms) + ".",
    ]
    gaps = [contrasts.differences(ok, f"per.{name}", {"arm": FIXED}, {"arm": ATTENDS}) for name in LENGTHS]
    if all(gap.differences for gap in gaps):
        listed = " / ".join(f"{sum(gap.differences) / len(gap.differences):.1f}" for gap in gaps)
        seeds = min(len(gap.differences) for gap in gaps)
        tested = "" if gaps[0].testable else f" ({seeds} seed{'s' * (seeds > 1)}, no test)"
        said.append(f"PER of {FIXED} less {ATTENDS}, for short / middle / long words: {listed} points{tested}.")
    return [*said, *_ordered(ok), *frames.unspoken(frame, **SPOKEN), *frames.shortfall(frame)]


def _ordered(ok: Frame) -> list[str]:
    """Whether what is read moves forward, by arm, with the control."""
    if ORDER[0] not in ok:
        return []
    means = ok.dropna(subset=list(ORDER)).groupby("point.arm", sort=False)[list(ORDER)].mean()
    listed = "; ".join(f"{arm} {mean:.2f} / {mixed:.2f}" for arm, mean, mixed in means.itertuples())
    said = "How what is read moves as it speaks, from -1 (backward) to 1 (forward), and with the phones permuted"
    return [f"{said}: {listed}."] if listed else []


def _listed(title: str, metric: str, arms: list[tuple[Any, Frame]]) -> str:
    listed = ", ".join(f"{arm} {rows[f'metric.{metric}'].mean():.1f} %" for arm, rows in arms)
    return f"{title} on held-out word families: {listed}"


def _means(rows: Frame, prefix: str) -> list[str]:
    return [f"{rows[f'metric.{prefix}{name}'].mean():.1f}" for name in LENGTHS]


def rates(frame: Frame) -> Frame:
    """A row for each class of length: columns ``length``, ``rate`` and ``value``."""
    kept = ["impl", "point.seed", "point.arm"]
    columns = {f"metric.{rate}.{name}": (rate.upper(), name) for rate in ("per", "wer") for name in LENGTHS}
    narrow = frames.joined(frame, "arm", *SPOKEN)[[*kept, *columns]].melt(kept, var_name="column", value_name="value")
    middles = {name: (low + high) / 2 for name, (low, high) in LENGTHS.items()}
    pairs = narrow["column"].map(columns)
    return narrow.assign(rate=pairs.str[0], letters=pairs.str[1].map(middles))


STORY = Story(
    question="What is attention worth on real words, and is it worth more the longer they are?",
    method=(
        "The encoder–decoder of `context-length` reads the letters of a word and writes its phones: the encoder's last "
        "states alone start the decoder (state), or it attends to all of them, by additive or by scaled dot-product "
        "scores; parameters equal in number to 5 %. 20,000 words of CMUdict train, in `steps` updates of 128; no word "
        "that validates or tests has its stem in common with one that trains. Adam at 5e-3, gradients clipped at norm "
        "1, the parameters that validated best, greedy decoding of 2,000 words. Every listed way to speak a word is "
        "right: the nearest one counts. Stress is left out."
    ),
    findings=findings,
    claims=verdicts,
    figures=(
        Figure(
            "g2p",
            "Errors against the length of the word",
            x="letters",
            y="value",
            hue="point.arm",
            col="rate",
            x_label="letters of the word (middle of 3–5, 6–8, 9–15)",
            y_label="errors in per cent",
            data=rates,
            caption="Median over seeds, and their middle half. PER: phones; WER: whole words.",
        ),
        Figure(
            "g2p-attention",
            "Where the decoder looks while it speaks",
            x="source",
            y="output",
            hue="weight",
            row="example",
            col="arm",
            kind="heat",
            x_text="letter",
            y_text="answer",
            x_label="read",
            y_label="spoken",
            data=looked_at,
            caption=(
                "The weights of the same held-out words in the training with seed 0 of each arm that attends. A row is "
                "one phone that was spoken (· is the end), right or wrong; bright is the letter that it attends to."
            ),
        ),
    ),
    limits=(
        "A short training of a small model on a sixth of the dictionary, so its rates lie far above those of systems "
        "(5.04 % PER in Toshniwal & Livescu 2016, on another split); how much better attention is after long training "
        "is not asked. Stems are crude: compounds and irregular forms can still be on both sides."
    ),
)

SUITE = ObservedSuite(
    name="g2p",
    story=STORY,
    axes={
        "seed": tuple(range(8)),
        "arm": (FIXED, ATTENDS, "scaled"),
        "steps": (1200,),
        "units": (translation.UNITS,),
    },
    observe=observe,
    implementations=("torch/naive",),
    needs={"cmudict": "cmudict", "rapidfuzz": "cmudict"},
    tiers={
        "smoke": {"seed": (0, 1), "arm": (FIXED, ATTENDS), "steps": (30,)},
        "full": {"arm": (FIXED, ATTENDS, "scaled", "input", "dot", "general")},
    },
    levels={"steps": levels.STEPS, "units": levels.UNITS},
)
