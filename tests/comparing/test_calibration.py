"""Calibration: what is counted live, and what is computed from recorded pairs, are kept apart and named."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from attnbench.commands import plan
from attnbench.comparing.calibration import BLOCK, alarms, live_alarms, recorded, replay
from attnbench.comparing.rates import clustered
from attnbench.comparing.sequential import Rules
from attnbench.live import comparison
from attnbench.results.calibrations import SelfComparison, for_machine, save
from tests.program import Cli
from tests.results import synthetic


def spells(length: int, spread: float = 0.06) -> list[list[float]]:
    """Cells whose noise keeps its sign for so many pairs."""
    rng = np.random.default_rng(5)
    return [
        list(np.repeat(rng.choice((-1.0, 1.0), 60 // length), length) * (spread + 0.01 * rng.random(60)))
        for _ in range(8)
    ]


def test_a_replay_has_no_better_noise_than_was_recorded() -> None:
    rules = Rules(margin=0.03)
    apart, together = (alarms(recorded(spells(length)), rules, trials=400) for length in (1, 20))
    assert apart <= 2, "signs that are fair coins from pair to pair are what the test is made for"
    assert together > 5 * max(apart, 1), "noise that holds on is not"


def test_pairs_are_drawn_in_blocks_of_one_sign() -> None:
    series = [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], [10.0, 20.0, 30.0]]
    drawn = recorded(series)(np.random.default_rng(0), 200 * BLOCK).reshape(-1, BLOCK)
    assert set(np.sign(drawn[:, 0])) == {-1.0, 1.0}
    assert {abs(one) for one in drawn.ravel()} == {one for cell in series for one in cell}
    for block in drawn:
        (own,) = [cell for cell in series if abs(block[0]) in cell]
        start = own.index(abs(block[0]))
        assert [abs(one) for one in block] == [own[(start + i) % len(own)] for i in range(BLOCK)]
        assert len(set(np.sign(block))) == 1
    assert recorded(series)(np.random.default_rng(0), BLOCK + 1).shape == (BLOCK + 1,)


def trial(started: str, verdict: str, margin: float | None = 0.03) -> SelfComparison:
    return synthetic.self_comparison(started=started, verdict=verdict, margin=margin)


def test_live_alarms_are_counted_by_comparison_and_by_margin() -> None:
    trials = [
        *(trial("1", "slower") for _ in range(4)),
        *(trial("2", "same") for _ in range(4)),
        *(trial("3", "slower", 0.10) for _ in range(4)),
        trial("0", "slower", None),
    ]
    rate, runs = live_alarms(trials, 0.03)
    assert (rate, runs) == (clustered([4, 0], [4, 4]), 2)
    assert live_alarms(trials, 0.05) == (clustered([], []), 0)


def test_the_sentence_names_both_and_says_which_is_which() -> None:
    series = spells(1, 0.01)
    trials = [synthetic.self_comparison(ratios, started="1", margin=0.03) for ratios in series]
    rate, runs = live_alarms(trials, 0.03)
    live: dict[str, Any] = {"alarms": rate.count, "low": rate.low, "high": rate.high, "live": rate.of, "runs": runs}
    text = synthetic.calibration(*trials, replayed=replay(series, 0.03, 8), **live).sentence(120)
    assert "0 of 8 cells of 1 live comparison called slower (at most 98 % are)" in text
    assert "judging blocks of its pairs again, " in text
    assert "false alarms in 2000 replayed cells" in text


def test_a_file_from_before_margins_were_kept_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNBENCH_DATA", str(tmp_path))
    path = save(synthetic.calibration(trial("1", "same")))
    found = json.loads(path.read_text())
    del found["trials"][0]["margin"], found["live"], found["runs"]
    path.write_text(json.dumps({**found, "notes": {}}))
    kept = for_machine("m")
    assert kept is not None
    assert kept.trials == (trial("1", "same", None),)


def test_nothing_measured_is_one_document_too(
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    empty: Any = SimpleNamespace(verdicts=(), folder=Path("results"))
    monkeypatch.setattr(comparison, "compare_live", lambda *_: empty)
    done = cli("calibrate", "--json")
    assert (done.code, done.document["exit_code"]) == (5, 5)
    assert not Path(".data").exists()


def test_a_plan_is_for_the_cells_that_were_planned(cli: Cli) -> None:
    done = cli("plan", "--detect", "10%", "--suite", "smoke", "-a", "T=128", "-a", "setting=forward")
    assert "type: attnbench ab A B --suite smoke -a T=128 -a setting=forward --margin 5% --budget" in done.out
    assert plan._options(SimpleNamespace(suites=(), axes=("T=1 2",))) == " -a 'T=1 2'"  # type: ignore[arg-type]
