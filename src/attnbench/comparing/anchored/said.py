"""By what the verdicts of a comparison were judged, in sentences for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

from attnbench.comparing.verdicts import Verdict, percent


def judged_by(verdicts: Sequence[Verdict]) -> list[str]:
    """What the times were judged by; nothing where no time was."""
    timed = [verdict for verdict in verdicts if verdict.metric == "time" and verdict.low is not None]
    moved = [verdict.anchor_change for verdict in timed if verdict.anchor_change is not None]
    why = Counter(verdict.why_raw for verdict in timed if verdict.why_raw is not None)
    sentences = []
    if moved:
        went = f"the anchor itself took {percent(median(moved))} in HEAD (median; {percent(min(moved))} … "
        sentences.append(
            "Times are judged by their ratio to the anchor, the same work beside the cells in both runs; "
            f"{went}{percent(max(moved))})."
        )
    for reason, count in why.most_common():
        many = "All" if count == len(timed) else f"{count} of {len(timed)}"
        sentences.append(f"{many} times are judged raw, as they were measured: {reason}.")
    return sentences
