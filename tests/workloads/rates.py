"""How often the answer is right: drawn mixes with two planted kernels, and twins, under the recorded noise.

`python -m tests.workloads.rates` prints the table that stands in docs/workloads.md.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from attnbench.workloads.grammar import Counted, Stretch
from attnbench.workloads.mixes import Workload
from attnbench.workloads.totals import geometric_mean, served
from attnbench.workloads.verdict import ServingVerdict, verdict
from tests.workloads.simulated import Costs, flip_of, frame

FOR_PREFILL, FOR_DECODE = "numpy/for-prefill", "numpy/for-decode"


@dataclass
class Rates:
    """What became of so many runs."""

    runs: int
    seen: Counter[str] = field(default_factory=Counter)

    def of(self, what: str) -> float:
        """How often, as a share of the runs."""
        return self.seen[what] / self.runs


def drawn_mix(rng: np.random.Generator) -> Workload:
    """Some prompts and chunks, and up to a few hundred decoding steps."""
    mix = [Counted(int(rng.integers(1, 9)), Stretch(n, n)) for n in rng.integers(32, 1024, 2).tolist()]
    mix += [Counted(1, Stretch(64, int(rng.integers(128, 2048))))]
    mix += [Counted(int(10 ** rng.uniform(0, 2.7)), Stretch(1, int(keys))) for keys in rng.integers(64, 4096, 3)]
    return Workload.of("drawn", mix)


def specialists(gain: float) -> Costs:
    """Two kernels: each takes ``1 + gain`` times as long as the other in the stage that it is not made for.

    A pair in decoding takes several times as long as one in prefill, as it does in reality.
    """
    a, d = 1e-8, 5e-8
    return {
        FOR_PREFILL: {"prefill": a, "decode": d * (1 + gain)},
        FOR_DECODE: {"prefill": a * (1 + gain), "decode": d},
    }


def answered(workload: Workload, costs: Costs, rng: np.random.Generator) -> ServingVerdict:
    """The verdict on one drawn run, by the code that judges real ones."""
    (mix,) = served(frame(workload, costs, rng))
    return verdict(mix)


def planted(runs: int, gain: float, seed: int = 0) -> Rates:
    """Two specialists on drawn mixes: who is named as the single best, the pair, and where the winner flips."""
    rng, rates, costs = np.random.default_rng(seed), Rates(runs), specialists(gain)
    for _ in range(runs):
        workload = drawn_mix(rng)
        truth = flip_of(workload, costs, FOR_DECODE, FOR_PREFILL)
        answer = answered(workload, costs, rng)
        share = workload.calls("prefill") / workload.total
        best = FOR_PREFILL if share > truth else FOR_DECODE
        side = "above" if share > truth else "below"
        rates.seen[side] += 1
        if answer.rivals:
            rates.seen["undecided"] += 1
        else:
            rates.seen["right" if answer.single == best else "wrong"] += 1
            rates.seen[f"right {side}"] += answer.single == best
        rates.seen["pair"] += answer.pair == {"prefill": FOR_PREFILL, "decode": FOR_DECODE}
        rates.seen["wrong pair"] += answer.pair not in (None, {"prefill": FOR_PREFILL, "decode": FOR_DECODE})
        for each in answer.flips_told:
            rates.seen["flip told"] += 1
            inside = each.low is not None and each.high is not None and each.low <= truth <= each.high
            rates.seen["flip inside"] += inside and (each.below, each.above) == (FOR_DECODE, FOR_PREFILL)
    return rates


def twins(runs: int, implementations: int = 2, seed: int = 0) -> Rates:
    """Implementations that take the same: whatever is told of them is false."""
    rng, rates = np.random.default_rng(seed), Rates(runs)
    costs = {f"numpy/twin-{n}": {"prefill": 1e-8, "decode": 5e-8} for n in range(implementations)}
    for _ in range(runs):
        answer = answered(drawn_mix(rng), costs, rng)
        told = any(each.told for family in answer.compared.values() for each in family)
        rates.seen["told" if told else "quiet"] += 1
        rates.seen["pair"] += answer.pair is not None
        rates.seen["flip told"] += bool(answer.flips_told)
    return rates


def twins_in_more_ways(runs: int, implementations: int = 2, seed: int = 0) -> Rates:
    """Twins of which the first is called in all ways, which take the same, and the others one sequence at a time."""
    rng, rates = np.random.default_rng(seed), Rates(runs)
    costs = {f"numpy/twin-{n}": {"prefill": 1e-8, "decode": 5e-8} for n in range(implementations)}
    for _ in range(runs):
        known = frame(drawn_mix(rng), costs, rng, batches=True, padded=1.0)
        (mix,) = served(known[(known["impl"] == "numpy/twin-0") | (known["point.way"] == "each")])
        answer = verdict(mix)
        told = any(each.told for family in answer.compared.values() for each in family)
        rates.seen["told" if told else "quiet"] += 1
        rates.seen["pair"] += answer.pair is not None
        rates.seen["flip told"] += bool(answer.flips_told)
        totals = mix.totals()
        rates.seen["many ways lead"] += geometric_mean(totals["numpy/twin-0"]) < geometric_mean(totals["numpy/twin-1"])
    return rates


HEAD = """| kernels | right | wrong | undecided | pair told | flip told | the interval holds it |
|---|---|---|---|---|---|---|
"""


def table(runs: int = 150) -> str:
    """The rates as a table."""
    lines = []
    for gain in (0.02, 0.05, 0.1, 0.3, 2.0):
        rates = planted(runs, gain)
        flips = rates.seen["flip told"]
        inside = f"{rates.seen['flip inside'] / flips:.1%}" if flips else "–"
        cells = [f"{rates.of(what):.1%}" for what in ("right", "wrong", "undecided", "pair", "flip told")]
        lines.append(f"| each {gain:.0%} slower in the other's stage | {' | '.join(cells)} | {inside} |")
    for count, what, drawn in (
        (count, what, drawn)
        for what, drawn in (("", twins), (", one of them called in all ways", twins_in_more_ways))
        for count in (2, 9)
    ):
        rates = drawn(runs, count)
        cells = ["–", *(f"{rates.of(each):.1%}" for each in ("told", "quiet", "pair", "flip told")), "–"]
        lines.append(f"| {count} twins{what} | {' | '.join(cells)} |")
    return HEAD + "\n".join(lines)


if __name__ == "__main__":
    print(table())  # noqa: T201
