"""An answer in words: its one line, the table of contenders, who was left out, how sure it is, and what to type."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from attnbench.analysis.intervals import Interval
from attnbench.answers.answer import AnswerBasis, AnswerParts, Contender, OtherRun, ratio_described
from attnbench.answers.sieve import KINDS, UNTRIED, NotChosen
from attnbench.errors import worst_exit
from attnbench.show import units
from attnbench.show.console import table

MANY = 2
# In the one line, so many of those that nobody measured.
NAMED = 3
NEVER_TRIED = (*UNTRIED, "not-installed")


def sentence(answer: AnswerParts) -> str:
    """The answer in one line, headed by the machine where it is not simply this one."""
    where = "" if answer.machine is None else f"{answer.machine}: "
    return f"{where}{SENTENCES[answer.verdict](answer)}"


def _fastest(answer: AnswerParts) -> str:
    first, second = answer.contenders[:2]
    lead = f"{second.impl} takes {as_long(second.ratio)}"
    place = f"the fastest of {len(answer.contenders)} for {answer.question.sentence}"
    return f"{first.impl} {_is(answer)} {place}: {_time(first)}; {lead}{_untried(answer)}."


def _only(answer: AnswerParts) -> str:
    first, tried = answer.contenders[0], 1 + sum(left.kind not in NEVER_TRIED for left in answer.left_out)
    place = f"the only one of {tried} that agrees and fits for {answer.question.sentence}"
    return f"{first.impl} {_is(answer)} {place}: {_time(first)}{_untried(answer)}."


def _either(answer: AnswerParts) -> str:
    word = "Either" if len(answer.names) == MANY else "Any"
    second = answer.contenders[1]
    apart = f"{second.impl} takes {as_long(second.ratio)} as {answer.contenders[0].impl}"
    return f"{word} of {', '.join(answer.names)} for {answer.question.sentence}: they cannot be told apart ({apart})."


def _disputed(answer: AnswerParts) -> str:
    other = next(run for run in answer.others if run.contradicts)
    there = f"run {other.run_id} names {', '.join(other.leading)}"
    return (
        f"Either of {', '.join(answer.names)} for {answer.question.sentence}: two runs of this machine contradict each "
        f"other ({there})."
    )


def _alone(answer: AnswerParts) -> str:
    open_ = f"others may be faster{_untried(answer) or ', and have no time'}"
    return f"Only {answer.names[0]} was measured and fits for {answer.question.sentence}: {open_}."


def _none(answer: AnswerParts) -> str:
    return f"Nobody who was measured is known to agree and fit for {answer.question.sentence}{_untried(answer)}."


def _not_measured(answer: AnswerParts) -> str:
    where = "on this machine" if answer.machine is None else "there"
    return f"Nothing was measured {where} for {answer.question.sentence}."


SENTENCES = {
    "fastest": _fastest,
    "only": _only,
    "either": _either,
    "disputed": _disputed,
    "alone": _alone,
    "none": _none,
    "not-measured": _not_measured,
}


def _is(answer: AnswerParts) -> str:
    """``is``; or ``was, on the day of the run``, where code or versions have changed since."""
    changed = any(c.since is not None and c.since.known == "changed" for c in answer.contenders[:2])
    return f"was, on {answer.evidence.started[:10]}," if changed and answer.evidence is not None else "is"


def _untried(answer: AnswerParts) -> str:
    """Who has no time, and who is not known to fit: nobody has seen that they are not faster."""
    kinds = {kind: [left.impl for left in answer.left_out if left.kind == kind] for kind in UNTRIED}
    return "".join(f"; {KINDS[kind]}: {units.some(names, NAMED)}" for kind, names in kinds.items() if names)


def _time(contender: Contender) -> str:
    return f"{units.seconds(contender.time_s)} a call"


def as_long(ratio: Interval | None) -> str:
    """Such as ``1.28 times as long [1.21, 1.35]``."""
    if ratio is None:
        return "an unknown time"
    ends = f"[{_ends(ratio).replace(' – ', ', ')}]" if _ends(ratio) else "[too few rounds for an interval]"
    return f"{units.significant(ratio.value)} times as long {ends}"


def _ends(ratio: Interval) -> str:
    """The interval of a ratio; nothing where it has no end."""
    return "" if math.isinf(ratio.high) else f"{units.significant(ratio.low)} – {units.significant(ratio.high)}"


def text(answer: AnswerParts) -> str:
    """The whole answer, its line first."""
    facts = [f"A fact, no verdict: {fact}." for fact in answer.facts]
    parts = [sentence(answer), *_runner_up(answer), *_price(answer), *facts]
    for title, lines in (
        ("", _contenders(answer)),
        ("Left out:", _left_out(answer.left_out)),
        ("How sure:", _how_sure(answer)),
        ("Measured near it:", _near(answer)),
        ("Notes:", answer.notes),
        ("Type, on that machine:" if answer.elsewhere else "Type:", answer.type),
    ):
        rows = list(lines)
        parts += ["", *([title] if title else []), *(f"  {row}" if title else row for row in rows)] if rows else []
    return "\n".join(parts)


def _runner_up(answer: AnswerParts) -> list[str]:
    """What the runner-up costs."""
    if answer.best is None or len(answer.contenders) < MANY:
        return []
    first, second = answer.contenders[:2]
    costs = [f"{units.seconds(c.time_s)} and {units.size(c.peak_bytes)} of memory" for c in (second, first)]
    return [f"The runner-up, {second.impl}, costs {costs[0]} a call, against {costs[1]}."]


def _price(answer: AnswerParts) -> list[str]:
    if answer.price is None:
        return []
    return [f"{answer.price.first} and {answer.price.second}: {answer.price.sentence}."]


def _contenders(answer: AnswerParts) -> list[str]:
    if not answer.contenders:
        return []
    heads = ("implementation", "standing", "time", "interval", "times as long", "its interval", "memory")
    rows = [_row(contender, first=contender is answer.contenders[0], answer=answer) for contender in answer.contenders]
    return table(heads, rows, ranks={"interval": 2, "its interval": 1}).splitlines()


def _row(contender: Contender, *, first: bool, answer: AnswerParts) -> list[str]:
    standing = "behind"
    if contender.is_leading:
        standing = "fastest" if first and answer.best is not None else "may be the fastest"
    ratio = contender.ratio
    times = "1" if first else units.times(None if ratio is None else ratio.value)
    ends = "" if first or ratio is None else _ends(ratio)
    interval = units.interval(contender.time_s, contender.low_s, contender.high_s)
    return [
        contender.impl,
        standing,
        units.seconds(contender.time_s),
        interval,
        times,
        ends,
        units.size(contender.peak_bytes),
    ]


def _left_out(left_out: Iterable[NotChosen]) -> Iterator[str]:
    """A line for each reason, with those who share it."""
    shared: dict[tuple[str, str], list[str]] = {}
    for left in left_out:
        measured = [units.seconds(left.time_s)] if left.time_s is not None else []
        measured += [units.size(left.peak_bytes)] if left.peak_bytes is not None else []
        named = f"{left.impl} ({', '.join(measured)})" if measured else left.impl
        shared.setdefault((left.kind, left.reason), []).append(named)
    for (kind, reason), names in shared.items():
        yield f"{KINDS[kind]}: {', '.join(names)}: {reason}"


def _how_sure(answer: AnswerParts) -> Iterator[str]:
    evidence = answer.evidence
    if evidence is None:
        return
    yield _rests_on(evidence)
    if evidence.processes:
        yield _noise(evidence)
    if evidence.rests_on:
        yield f"the ratio to the next one rests on {evidence.rests_on}"
    shared: dict[str, list[str]] = {}
    for contender in answer.contenders:
        if contender.since is not None:
            shared.setdefault(contender.since.text, []).append(contender.impl)
    for why, names in shared.items():
        yield f"since then: {', '.join(names)}: {why}"
    if answer.elsewhere:
        yield "since then: not known from here, for it is another machine"
    elif answer.contenders and not shared:
        yield "since then: code and versions of all of them are the same"
    for other in answer.others:
        yield f"run {other.run_id} of {other.day} {_says(answer, other)}: {', '.join(other.leading)}"


def _says(answer: AnswerParts, other: OtherRun) -> str:
    """What another run says of the answer."""
    if other.contradicts:
        return "contradicts it"
    agrees = set(other.leading) & {contender.impl for contender in answer.contenders if contender.is_leading}
    return "has the same in front" if agrees else "has others in front, by other code or versions"


def _rests_on(evidence: AnswerBasis) -> str:
    days = evidence.age_days
    age = "today" if days < 1 else "1 day old" if days < MANY else f"{days:.0f} days old"
    return f"run {evidence.run_id} ({age}), suite {evidence.suite}, folder {evidence.folder}"


def _noise(evidence: AnswerBasis) -> str:
    noise = "without an interval" if evidence.noise is None else f"known to ±{100 * evidence.noise:.2g} %"
    processes = "1 process" if evidence.most_processes == 1 else f"{_range(evidence)} processes"
    disturbed = f"; {evidence.disturbed} bursts were disturbed and measured again" if evidence.disturbed else ""
    return f"{processes} of each, at least {evidence.bursts} bursts; the first one's time is {noise}{disturbed}"


def _range(evidence: AnswerBasis) -> str:
    """Those that were told behind early have fewer processes than the others."""
    least, most = evidence.processes, evidence.most_processes
    return str(least) if least == most else f"{least} to {most}"


def _near(answer: AnswerParts) -> Iterator[str]:
    for case in answer.near:
        yield f"{case.label}: {case.differs} ({case.run_id})" + (f"; type: {case.typed}" if case.typed else "")


@dataclass(frozen=True)
class BestAnswer(AnswerParts):
    """An answer that says itself: printed, it is the text of ``attnbench best``."""

    @property
    def sentence(self) -> str:
        """The answer in one line."""
        return sentence(self)

    def describe(self) -> dict[str, Any]:
        """The JSON document of ``attnbench best --json``."""
        runner_up = self.contenders[1].impl if self.lead is not None else None
        return {
            "machine": self.machine,
            "question": self.question.describe(),
            "verdict": self.verdict,
            "best": self.best,
            "names": list(self.names),
            "untried": list(self.untried),
            "sentence": self.sentence,
            "lead": None if runner_up is None else {"over": runner_up, **(ratio_described(self.lead) or {})},
            "contenders": [contender.describe() for contender in self.contenders],
            "left_out": [left.describe() for left in self.left_out],
            "evidence": None if self.evidence is None else asdict(self.evidence),
            "price": None if self.price is None else self.price.describe(),
            "other_runs": [asdict(run) for run in self.others],
            "near": [asdict(case) for case in self.near],
            "facts": list(self.facts),
            "notes": list(self.notes),
            "type": list(self.type),
            "interrupted": self.interrupted,
            "exit_code": self.exit_code,
        }

    def __str__(self) -> str:
        return text(self)

    def _repr_html_(self) -> str:
        """For notebooks: the line, and the rest as text below it."""
        first, _, rest = str(self).partition("\n")
        return f"<p><b>{html.escape(first)}</b></p><pre>{html.escape(rest.strip())}</pre>"


@dataclass(frozen=True)
class AnswersByMachine:
    """Answers to one question, one for each machine of the runs that were named; nothing is said between them."""

    answers: tuple[BestAnswer, ...]

    @property
    def exit_code(self) -> int:
        """The exit status of the command line: 0 where every machine has an answer."""
        return worst_exit({answer.exit_code for answer in self.answers})

    def describe(self) -> dict[str, Any]:
        """The JSON document of ``attnbench best --json``: ``machines`` has the document of each."""
        return {"machines": [answer.describe() for answer in self.answers], "exit_code": self.exit_code}

    def __str__(self) -> str:
        heads = [f"{len(self.answers)} machines, each with an answer of its own:", *map(sentence, self.answers)]
        return "\n\n".join(["\n".join(heads), *(f"── {answer.machine}\n\n{answer}" for answer in self.answers)])

    def _repr_html_(self) -> str:
        """For notebooks: one after the other."""
        return "".join(answer._repr_html_() for answer in self.answers)
