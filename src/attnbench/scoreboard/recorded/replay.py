"""Every rule on the same recorded noise, with slowdowns of known size: how often it is right, wrong, and silent.

Ours is judged by the code of ``attnbench ab``, on the log-ratios of recorded pairs: blocks of consecutive pairs, so
that what holds on in time holds on here, and in every block a fair coin says which process was called A, as it is
drawn live. All cells of a run see the same pairs. A run has as many pairs as its wall time affords; a cell that is
decided leaves, and the others go faster. Other tools are judged on windows (``windows``), by their own rules
(``rules``). A slowdown multiplies the times of B.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.comparing import many
from attnbench.comparing.calibration import BLOCK
from attnbench.comparing.rates import Rate, clustered, exact, number
from attnbench.comparing.sequential import Rules
from attnbench.comparing.signed_rank import robust_spread
from attnbench.scoreboard.recorded.corpus import Corpus
from attnbench.scoreboard.recorded.rules import asv_worse, pyperf_slower, pytest_benchmark_fails
from attnbench.scoreboard.recorded.windows import Windows
from attnbench.show import markdown

EFFECTS = (0.0, 0.02, 0.03, 0.05, 0.10)
CHUNK = 500
# The memory runs of a comparison: so many more pairs of each cell by itself, and at most a quarter of its time.
MEMORY_RUNS, MOST_RESERVED = 3, 0.25
OURS = "attnbench ab"
PYTEST_BENCHMARK = tuple(
    (f"pytest-benchmark {field}:{percent}%", field, percent)
    for field, percent in (("mean", 5), ("median", 5), ("min", 5), ("mean", 10))
)
ASV = (("asv continuous -f 1.05", 1.05), ("asv continuous -f 1.1", 1.1))
PYPERF = "pyperf compare_to"


@dataclass(frozen=True)
class Result:
    """One rule at one wall time and slowdown: cells called slower, and runs with any such cell.

    All cells of a run are drawn from the same pairs, so their intervals are clustered by run. ``same``, ``faster``,
    ``undecided`` and, of the intervals that have ends, those ``covered`` are known of ours alone.
    """

    rule: str
    budget_s: float
    effect: float
    slower: Rate
    any_slower: Rate
    same: Rate | None = None
    faster: Rate | None = None
    undecided: Rate | None = None
    covered: Rate | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with the names of the columns of replay.csv."""
        columns: dict[str, Any] = {"rule": self.rule, "budget_s": self.budget_s, "effect": self.effect}
        columns |= {"runs": self.any_slower.of, "cells": self.slower.of}
        for name in ("slower", "any_slower", "same", "faster", "undecided", "covered"):
            rate = getattr(self, name)
            ends = (None, None, None) if rate is None else (rate.count, rate.low, rate.high)
            columns |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
        return columns | {"bounded": None if self.covered is None else self.covered.of}

    @staticmethod
    def of(row: Mapping[str, str]) -> Result:
        """Back from a row of replay.csv."""
        sizes = {"any_slower": row["runs"], "covered": row["bounded"]}

        def rate(name: str) -> Rate | None:
            if not row[name]:
                return None
            ends = float(row[f"{name}_low"]), float(row[f"{name}_high"])
            return Rate(int(row[name]), int(sizes.get(name, row["cells"])), *ends)

        slower, any_slower = rate("slower"), rate("any_slower")
        assert slower is not None  # noqa: S101  (all rows have both)
        assert any_slower is not None  # noqa: S101
        others_ = [rate(name) for name in ("same", "faster", "undecided", "covered")]
        return Result(row["rule"], float(row["budget_s"]), float(row["effect"]), slower, any_slower, *others_)


# Whether B is called slower: (runs, cells) from windows and 1 + the slowdown.
Judge = Callable[[Windows, float], Array]


def others(windows: Windows) -> dict[str, Callable[[float], Array]]:
    """The rules of other tools on these windows, by name."""
    fields, (base, head, n) = windows.pytest_benchmark(), windows.pyperf()

    def pytest_benchmark(field: str, percent: float, factor: float) -> Array:
        return pytest_benchmark_fails(fields[field][0], fields[field][1] * factor, percent)

    def pyperf(factor: float) -> Array:
        return pyperf_slower(base, (head[0] * factor, head[1] * factor**2), n)

    rules: dict[str, Callable[[float], Array]] = {
        name: lambda factor, field=field, percent=percent: pytest_benchmark(field, percent, factor)  # type: ignore[misc]
        for name, field, percent in PYTEST_BENCHMARK
    }
    return rules | {PYPERF: pyperf}


def replay(
    corpus: Corpus,
    budgets: Sequence[float],
    *,
    trials: int = 10_000,
    seed: int = 0,
    effects: Sequence[float] = EFFECTS,
    margin: float = 0.03,
    rules: Rules | None = None,
    more: dict[str, Judge] | None = None,
) -> list[Result]:
    """Judge all rules in so many runs each; ``more`` are further rules by name, and ``rules`` those of ours."""
    our_rules = rules or Rules(margin=margin, cells=len(corpus.cells))
    results = list(ours(corpus, budgets, trials=trials, seed=seed, effects=effects, rules=our_rules))
    for budget_s in budgets:
        windows = Windows(corpus, window(corpus, budget_s), trials, np.random.default_rng(seed + 1))
        judges = others(windows) | {name: partial(judge, windows) for name, judge in (more or {}).items()}
        for name, judge in judges.items():
            results += [_counted(name, budget_s, effect, judge(1 + effect)) for effect in effects]
        results += _asv(windows, budget_s, effects)
    return results


def window(corpus: Corpus, budget_s: float) -> int:
    """Pairs of the recording in the time of one side, if all of it is measuring; at most half of the recording."""
    bursts = budget_s / 2 / len(corpus.cells) / corpus.burst_s
    return max(1, min(round(bursts / corpus.bursts / 2), corpus.pairs // 2))


def _counted(name: str, budget_s: float, effect: float, slower: Array) -> Result:
    return Result(name, budget_s, effect, _by_run(slower), exact(int(slower.any(axis=1).sum()), len(slower)))


def _by_run(called: Array, of: Array | None = None) -> Rate:
    """The rate of (runs, cells) that are true, of those in ``of``."""
    sizes = np.full(len(called), called.shape[1]) if of is None else of.sum(1)
    return clustered(called.sum(1).tolist(), sizes.tolist())


def _asv(windows: Windows, budget_s: float, effects: Sequence[float]) -> list[Result]:
    slower: dict[tuple[str, float], list[Array]] = {}
    for at in range(0, windows.runs, CHUNK):
        base, head = windows.asv(slice(at, at + CHUNK))
        flat = base.reshape(-1, base.shape[2]), head.reshape(-1, head.shape[2])
        for name, factor in ASV:
            for effect in effects:
                called = asv_worse(flat[0], flat[1] * (1 + effect), factor)
                slower.setdefault((name, effect), []).append(called.reshape(base.shape[:2]))
    return [_counted(name, budget_s, effect, np.concatenate(parts)) for (name, effect), parts in slower.items()]


def drawn(corpus: Corpus, runs: int, rng: np.random.Generator) -> Array:
    """Log-ratios (runs, pairs, cells): blocks of consecutive pairs, the sides of each block named by a fair coin."""
    blocks = math.ceil(many.MOST / BLOCK)
    starts = rng.integers(corpus.pairs, size=(runs, blocks, 1))
    at = ((starts + np.arange(BLOCK)) % corpus.pairs).reshape(runs, -1)[:, : many.MOST]
    signs = np.repeat(rng.choice((-1.0, 1.0), size=(runs, blocks)), BLOCK, axis=1)[:, : many.MOST]
    return np.asarray(corpus.log_ratios[at] * signs[:, :, None])


def ours(
    corpus: Corpus,
    budgets: Sequence[float],
    *,
    trials: int,
    seed: int = 0,
    effects: Sequence[float] = EFFECTS,
    rules: Rules | None = None,
) -> Iterator[Result]:
    """Judge our rules alone in so many runs."""
    runs, rng = trials, np.random.default_rng(seed)
    rules = rules or Rules(cells=len(corpus.cells))
    cells = len(corpus.cells)
    noise = drawn(corpus, runs, rng).swapaxes(1, 2).reshape(runs * cells, -1)
    for effect in effects:
        ratios = noise + math.log1p(effect)
        judged = many.judge(ratios, rules)
        for budget_s in budgets:
            pairs = np.repeat(affordable(corpus, judged, budget_s), cells)
            words = np.where(judged.decided_at <= pairs, judged.verdict, many.INCONCLUSIVE)
            low, high = many.reported(ratios, judged, pairs)
            bounded = np.isfinite(low) & np.isfinite(high)
            true = math.log1p(effect)
            covered = bounded & (low <= true) & (true <= high)
            said = words.reshape(runs, cells)
            yield replace(
                _counted(OURS, budget_s, effect, said == many.SLOWER),
                same=_by_run(said == many.SAME_WORD),
                faster=_by_run(said == many.FASTER),
                undecided=_by_run(said == many.INCONCLUSIVE),
                covered=_by_run(covered.reshape(runs, cells), bounded.reshape(runs, cells)),
            )


def affordable(corpus: Corpus, judged: many.ManyVerdicts, budget_s: float) -> Array:
    """For every run the pairs that its wall time affords, by the seconds that the recorded ones took."""
    cells = len(corpus.cells)
    alone = corpus.startup_s + corpus.cell_s / 4
    left = budget_s - min(MEMORY_RUNS * cells * alone, MOST_RESERVED * budget_s)
    ends = judged.decided_at.reshape(-1, cells)
    open_cells = (ends[:, None, :] > np.arange(many.MOST)[None, :, None]).sum(2)
    took = np.cumsum(np.where(open_cells > 0, corpus.startup_s + corpus.cell_s * open_cells, 0.0), axis=1)
    # Every cell has its first pair, as it has live.
    return np.asarray(np.maximum((took <= left).sum(1), 1))


def table(results: Sequence[Result], corpus: Corpus) -> str:
    """Markdown: for every wall time all rules, and what ours said besides."""
    spread = robust_spread(list(corpus.log_ratios.ravel()))
    about = (
        f"Recorded: {corpus.pairs} whole pairs of {len(corpus.cells)} cells "
        f"({str(corpus.about.get('recorded', ''))[:10]}), robust spread of pairs {100 * spread:.1f} %, standard "
        f"deviation {100 * float(corpus.log_ratios.std()):.1f} %."
    )
    parts = [about]
    for budget_s in dict.fromkeys(result.budget_s for result in results):
        now = [result for result in results if result.budget_s == budget_s]
        side = window(corpus, budget_s) * 2 * corpus.bursts
        wanted = budget_s / 2 / len(corpus.cells) / corpus.burst_s
        short = "" if side > 0.8 * wanted else f", all that the recording has, of {wanted:.0f}"
        parts.append(
            f"### {budget_s / 60:g} minutes for {len(corpus.cells)} cells, {now[0].any_slower.of} runs drawn for every "
            "rule\n\n"
            f"The other tools' {side} bursts of each cell and side{short}.\n\n{_rules(now)}\n\n{_own(now)}"
        )
    return "\n\n".join(parts)


def _rules(results: Sequence[Result]) -> str:
    effects = sorted({result.effect for result in results})
    changed = [effect for effect in effects if effect]
    head = ["rule", "false alarms of cells", "runs with one", *(f"+{100 * effect:g} % found" for effect in changed)]
    lines = []
    for rule in dict.fromkeys(result.rule for result in results):
        by_effect = {result.effect: result for result in results if result.rule == rule}
        none = by_effect[0.0]
        shares = [_percent(by_effect[e].slower) for e in changed]
        lines.append([rule, str(none.slower), str(none.any_slower), *shares])
    return markdown.table(head, lines).rstrip()


def _own(results: Sequence[Result]) -> str:
    head = ["what `ab` said", "slower", "same", "faster", "inconclusive", "intervals that hold the change"]
    lines = []
    for result in results:
        if result.rule == OURS and result.same is not None:
            rates = (result.slower, result.same, result.faster, result.undecided, result.covered)
            words = [_percent(rate) for rate in rates if rate is not None]
            lines.append([f"+{100 * result.effect:g} %" if result.effect else "no change", *words])
    return markdown.table(head, lines).rstrip()


def _percent(rate: Rate) -> str:
    return f"{number(rate.share)} %" if rate.of else "–"
