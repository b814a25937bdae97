"""Reasons that several cells share, such as two machines: said once for all of them, and not at every cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from attnbench.comparing.verdicts import Verdict

# So many rows of one reason are one row; two can be read as they are.
SEVERAL = 3


@dataclass(frozen=True)
class SharedReason:
    """``verdicts`` of ``of`` verdicts are ``word`` for this reason."""

    word: str
    reason: str
    verdicts: int
    of: int

    @property
    def sentence(self) -> str:
        """What to know of it, in one line."""
        count = f"all {self.of}" if self.verdicts == self.of else f"{self.verdicts} of {self.of}"
        return f"{self.word}, {count}: {self.reason}"

    def holds(self, verdict: Verdict) -> bool:
        """Whether a verdict is one of them."""
        return verdict.low is None and (verdict.verdict, verdict.reason) == (self.word, self.reason)


def shared_reasons(verdicts: Sequence[Verdict]) -> list[SharedReason]:
    """The reasons of at least three verdicts without an interval, the most frequent first."""
    counts = Counter((verdict.verdict, verdict.reason) for verdict in verdicts if verdict.low is None)
    return [
        SharedReason(word, reason, count, len(verdicts))
        for (word, reason), count in counts.most_common()
        if count >= SEVERAL and reason is not None
    ]
