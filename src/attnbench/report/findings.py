"""What a frame says, in sentences: for timed suites that bring no findings of their own, and the counts of all.

A sentence claims only what the paired rounds of two cells allow (``analysis.leading``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attnbench.analysis.leading import lead, leaders
from attnbench.show import units

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.suite import Story

# What stands at the top of a page for one suite: so many sentences, and characters.
MOST_BRIEF, BRIEF = 3, 450
MOST_NAMED = 2  # of those that are not told from the fastest


def findings(frame: pd.DataFrame, story: Story, place: Callable[[BaseException], str] = lambda _: "") -> list[str]:
    """The suite's own sentences, else those that any timed frame allows; a failing suite says how it failed.

    ``place`` says where in the suite's own file an error came from.
    """
    if story.findings is not None:
        try:
            said = story.findings(frame)
            return [said] if isinstance(said, str) else list(map(str, said))
        except Exception as error:  # noqa: BLE001  (a suite's own code; the rest of the report must survive it)
            why = f"{type(error).__name__}: {error}{place(error)}"
            return [f"The findings of this suite could not be worked out: {why}"]
    return timed_findings(frame)


def brief(sentences: Sequence[str], tally: str = "") -> tuple[str, ...]:
    """The first sentences as far as they are short, at most ``MOST_BRIEF`` and at least one, and the ``tally``."""
    kept = list(sentences[:1])
    for sentence in sentences[1:MOST_BRIEF]:
        if sum(map(len, kept)) + len(sentence) > BRIEF:
            break
        kept.append(sentence)
    return (*kept, *filter(None, [tally]))


def timed_findings(frame: pd.DataFrame) -> list[str]:
    """Who was fastest in how many cases, the largest case in numbers, and the least memory."""
    ok = frame[(frame["kind"] == "timed") & (frame["status"] == "ok")]
    blocks = [block for _, block in ok.groupby(["block_id", "case_id"], sort=False) if len(block) > 1]
    if not blocks:
        return []
    winners = Counter(_leaders(block) for block in blocks)
    sentences = [_wins(winners, len(blocks))]
    largest = max(blocks, key=lambda block: float(block["time_median_s"].max()))
    sentences.append(_spelled(largest))
    memory = largest.dropna(subset=["peak_bytes"])
    if len(memory) > 1:
        sentences.append(_memory(memory))
    return sentences


def _leaders(block: pd.DataFrame) -> tuple[str, ...]:
    """The fastest and all that the rounds do not tell from it."""
    together, _ = leaders(block)
    return tuple(sorted(together["impl"]))


def _wins(winners: Mapping[tuple[str, ...], int], total: int) -> str:
    clear = {names[0]: count for names, count in winners.items() if len(names) == 1}
    parts = [f"{name} in {count}" for name, count in sorted(clear.items(), key=lambda item: (-item[1], item[0]))]
    undecided = total - sum(clear.values())
    if undecided:
        parts.append(f"none in {undecided}, where the paired rounds do not tell the fastest apart")
    cases = f"{total} cases" if total > 1 else "one case"
    return f"Of {cases} measured with at least two implementations, clearly fastest was " + ", ".join(parts) + "."


def _spelled(block: pd.DataFrame) -> str:
    """Who leads the case and how far the last of those behind is, by the rounds that both were in."""
    first = lead(block)
    row = block[block["impl"] == first.first].iloc[0]
    start = f"In the longest-running case ({row['case_label']})"
    time = units.seconds(row["time_median_s"])
    if not first.behind:
        return f"{start} no implementation is told to be slower than {first.first} ({time})."
    others = units.some(first.together[1:], MOST_NAMED)
    tied = f", from which {others} {'is' if len(first.together) == 2 else 'are'} not told," if others else ""  # noqa: PLR2004
    last = first.behind[-1]  # a larger ratio that is not told is nobody's finding
    how_long = units.times(first.pairs[last].interval().value)
    return f"{start} {first.first}{tied} took {time} and {last} {how_long} as long, by common rounds."


def _memory(block: pd.DataFrame) -> str:
    ordered = block.sort_values(["peak_bytes", "impl"])
    first, last = ordered.iloc[0], ordered.iloc[-1]
    return (
        f"There, {first['impl']} needed the least memory beyond its operands, {units.size(first.peak_bytes)}, "
        f"and {last['impl']} the most, {units.size(last.peak_bytes)}."
    )


def counts(frame: pd.DataFrame) -> str:
    """How many cells were planned and what became of them, in one sentence."""
    by_status: dict[Any, int] = frame["status"].value_counts().to_dict()
    others = ", ".join(f"{count} {status}" for status, count in sorted(by_status.items()) if status != "ok")
    rest = f"; {others}" if others else ""
    return f"{len(frame)} cells were planned, {by_status.get('ok', 0)} were measured{rest}."
