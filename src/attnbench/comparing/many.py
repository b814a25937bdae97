"""The sequential rule for many cells at once, for replays: verdict for verdict that of ``sequential.Comparison``.

``Comparison`` takes one pair after the other, as a live comparison needs it; a replay of ten thousand cells would take
it minutes. Here a row is a cell and a column a pair; a test holds both to the same verdicts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.comparing.sequential import CONFIRM, MOST_PAIRS, REPORTED, SAME, SCREEN, Rules
from attnbench.comparing.signed_rank import Looks, boundaries, interval_places, means_of_two, scores

INCONCLUSIVE, SAME_WORD, SLOWER, FASTER = 0, 1, 2, 3
MOST = SCREEN.pairs[-1] + CONFIRM.pairs[-1]
NEVER = 10**6
CHUNK = 2000


@dataclass(frozen=True)
class ManyVerdicts:
    """For every row: the verdict; the pairs after which it stood (``NEVER``); pairs that screened it (``NEVER``)."""

    verdict: Array
    decided_at: Array
    screened: Array


def judge(log_ratios: Array, rules: Rules) -> ManyVerdicts:
    """Judge rows of log-ratios (cells, pairs). With fewer than ``MOST`` pairs, some may stay open for their lack."""
    parts = [_judge(log_ratios[at : at + CHUNK], rules) for at in range(0, max(len(log_ratios), 1), CHUNK)]
    names = ("verdict", "decided_at", "screened")
    return ManyVerdicts(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _judge(x: Array, rules: Rules) -> ManyVerdicts:
    n, given = x.shape
    verdicts = ManyVerdicts(np.zeros(n, np.int8), np.full(n, NEVER), np.full(n, NEVER))
    towards, alive = np.zeros(n, np.int8), np.ones(n, bool)
    for look in sorted({*SCREEN.pairs, *SAME.pairs}):
        rows = np.flatnonzero(alive)
        if look > given or not len(rows):
            break
        seen = x[rows, :look]
        slower, faster = _screened(seen, rules)
        towards[rows] = slower.astype(np.int8) - faster
        screened = slower | faster
        verdicts.screened[rows[screened]] = look
        same = rows[~screened & _same(seen, rules)]
        _decide(verdicts, same, SAME_WORD, look)
        alive[rows[screened]] = False
        alive[same] = False
    for look in SCREEN.pairs:
        rows = np.flatnonzero(verdicts.screened == look)
        if len(rows):
            _confirm(verdicts, rows, x[rows, look:], towards[rows], rules)
    return verdicts


def _confirm(verdicts: ManyVerdicts, rows: Array, x: Array, towards: Array, rules: Rules) -> None:
    """The confirming stage of rows that were screened at one look; ``x`` are the pairs since."""
    began = int(verdicts.screened[rows[0]])
    shown, alive = np.zeros(len(rows), bool), np.ones(len(rows), bool)
    for count in range(1, min(x.shape[1], CONFIRM.pairs[-1]) + 1):
        live = np.flatnonzero(alive)
        if not len(live):
            return
        seen = x[live, :count]
        directed = towards[live, None] * seen
        shown[live] |= _reached(CONFIRM, rules.confirm_error, directed)
        beyond = np.zeros(len(live), bool)
        # Centre and interval count only once a boundary was reached.
        reached = directed[shown[live]]
        beyond[shown[live]] = (centres(reached) >= rules.log_margin) & (intervals(reached)[0] > 0)
        same = ~beyond & _same(seen, rules)
        for done, word in ((beyond & (towards[live] > 0), SLOWER), (beyond & (towards[live] < 0), FASTER)):
            _decide(verdicts, rows[live[done]], word, began + count)
        _decide(verdicts, rows[live[same]], SAME_WORD, began + count)
        alive[live[beyond | same]] = False


def _screened(seen: Array, rules: Rules) -> tuple[Array, Array]:
    """Which rows look slower, and which of the others faster; the ranks of both questions are the same."""
    if seen.shape[1] not in SCREEN.pairs:
        return np.zeros(len(seen), bool), np.zeros(len(seen), bool)
    limit = boundaries(SCREEN, rules.screen_error)[SCREEN.pairs.index(seen.shape[1])]
    ranks = scores(seen)
    slower = (ranks * (seen > 0)).sum(1) >= limit
    return slower, ~slower & ((ranks * (seen < 0)).sum(1) >= limit)


def _decide(verdicts: ManyVerdicts, rows: Array, word: int, at: int) -> None:
    verdicts.verdict[rows], verdicts.decided_at[rows] = word, at


def _same(seen: Array, rules: Rules) -> Array:
    margin, error = rules.log_margin, rules.false_same
    if seen.shape[1] not in SAME.pairs:
        return np.zeros(len(seen), bool)
    within = np.asarray(_reached(SAME, error, seen + margin))
    within[within] = _reached(SAME, error, margin - seen[within])
    return within


def _reached(looks: Looks, error: float, seen: Array) -> Array:
    if seen.shape[1] not in looks.pairs or not len(seen):
        return np.zeros(len(seen), bool)
    limit = boundaries(looks, error)[looks.pairs.index(seen.shape[1])]
    return np.asarray((scores(seen) * (seen > 0)).sum(1) >= limit)


def centres(x: Array) -> Array:
    """The centre of every row, as an estimate has it."""
    return np.median(means_of_two(x), axis=1) if len(x) else np.zeros(0)


def intervals(x: Array, confidence: float = REPORTED) -> tuple[Array, Array]:
    """The ends of the interval of every row, as a decision reports it."""
    place = interval_places(x.shape[1], confidence)
    if place is None:
        return np.full(len(x), -np.inf), np.full(len(x), np.inf)
    means = means_of_two(x)
    return means[:, place[0]], means[:, -1 - place[0]]


def reported(log_ratios: Array, judged: ManyVerdicts, pairs: Array) -> tuple[Array, Array]:
    """The interval that each row reports when no more than ``pairs`` of its pairs were measured.

    It is from the confirming pairs alone where there are any, else from those that screened.
    """
    low, high = np.full(len(pairs), -np.inf), np.full(len(pairs), np.inf)
    last = np.minimum(np.minimum(judged.decided_at, pairs), _spent(judged))
    start = np.where(judged.screened < last, judged.screened, 0)
    for key in np.unique(np.stack([start, last], axis=1), axis=0):
        rows = np.flatnonzero((start == key[0]) & (last == key[1]))
        if key[1] > key[0]:
            low[rows], high[rows] = intervals(log_ratios[rows, key[0] : key[1]])
    return low, high


def _spent(judged: ManyVerdicts) -> Array:
    """After how many pairs a row takes no further one."""
    return np.where(judged.screened < NEVER, judged.screened + CONFIRM.pairs[-1], MOST_PAIRS)
