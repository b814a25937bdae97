"""Two implementations, live: planted kernels, places that fail, several of them, the document and what is kept."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from attnbench.crossover.answer import Crossing
from attnbench.crossover.envelope import envelope, leaders_at, matters, on_envelope
from attnbench.crossover.evidence import AxisPlace, Sign
from attnbench.crossover.measuring import exit_code
from attnbench.crossover.search import Grid, Search
from attnbench.crossover.visits import Stop
from attnbench.results.pairs import read_comparison, read_pairs
from tests.crossover import planted
from tests.program import Cli

FAILING = """
    import numpy as np
    from attnbench.api import Capabilities, UnsupportedError, implementation

    @implementation("numpy/small", Capabilities())
    def small(q, k, v, call):
        T = q.shape[2]
        if 100 < T < 200:
            raise UnsupportedError('no lengths between 100 and 200')
        if 200 < T < 300:
            return np.zeros_like(q)
        if T > 300:
            raise MemoryError
        for _ in range(8):
            s = q @ np.swapaxes(k, -1, -2) * np.float32(call.scale)
            e = np.exp(s - s.max(-1, keepdims=True))
        return (e / e.sum(-1, keepdims=True)) @ v
"""


def search(signs: dict[int, Sign], a: str = "a", b: str = "b") -> Search:
    search_ = Search(a, b, Grid(min(signs), max(signs)))
    search_.places = {x: AxisPlace(x, values=[0.5 * sign] * 3, sign=sign) for x, sign in signs.items()}
    return search_


def nobody(_name: str, _x: int) -> bool:
    return False


def test_the_envelope_is_made_of_those_that_nobody_beats() -> None:
    searches = {
        ("a", "b"): search({64: 1, 128: 1, 256: -1, 512: -1}),
        ("a", "c"): search({64: 1, 128: 1, 256: 1, 512: -1}, "a", "c"),
        ("b", "c"): search({64: 1, 128: 1, 256: 1, 512: -1}, "b", "c"),
    }
    names = ("a", "b", "c")
    assert [stretch.names for stretch in envelope(searches, names, nobody)] == [("a",), ("b",), ("c",)]
    crossings = on_envelope(searches, names, nobody)
    assert [(c.faster_below, c.faster_above) for c in crossings] == [("a", "b"), ("b", "c")]
    assert Crossing(363, 256, 512, "a", "c") not in crossings, "where neither leads there is nothing to choose"


def test_one_that_stops_leads_no_more() -> None:
    searches = {("a", "b"): search({64: 1, 128: 1})}
    assert leaders_at(searches, ("a", "b"), 128, lambda name, x: name == "a" and x >= 128) == ()
    assert leaders_at(searches, ("a", "b"), 64, nobody) == ("a",)


def test_two_of_which_neither_can_lead_are_measured_no_more() -> None:
    names = ("a", "b", "c")
    searches = {
        ("a", "b"): search({64: 1, 128: 1}),
        ("a", "c"): search({64: 1, 128: 1}, "a", "c"),
        ("b", "c"): search({64: 0, 128: 0}, "b", "c"),
    }
    assert not matters(searches, names, ("b", "c"), nobody)


@pytest.mark.parametrize(
    ("word", "statuses", "code"),
    [
        ("crossings", [], 0),
        ("none", ["unsupported", "not-run"], 0),
        ("cannot-be-told", [], 3),
        ("crossings", ["oom"], 4),
        ("cannot-be-told", ["crashed", "wrong"], 1),
    ],
)
def test_the_exit_status_is_that_of_the_page(word: str, statuses: list[str], code: int) -> None:
    stops = tuple(Stop(64, "a", status, "why") for status in statuses)
    assert exit_code(word, stops, measured=True, interrupted=False) == code
    assert exit_code(word, (), measured=False, interrupted=False) == 5
    assert exit_code("none", (), measured=True, interrupted=True) == 3


@pytest.mark.slow
@pytest.mark.proof
def test_planted_kernels_cross_where_they_were_made_to(cli: Cli, tmp_path: Path) -> None:
    done = cli(*planted.command(planted.write(tmp_path, 128, heads=4), tmp_path / "results", "40s", "32:512"))
    said = done.document
    if done.code in (3, 5):  # a machine so busy that three pairs did not fit
        pytest.skip(said["reason"])
    assert done.code == 0, done.err
    (crossing,) = said["crossings"]
    assert crossing["low"] <= 128 <= crossing["high"]
    assert (crossing["faster_below"], crossing["faster_above"]) == ("numpy/late", "numpy/early")
    assert said["answer"] == "crossings"
    folder = Path(said["folder"])
    info = read_comparison(folder)
    assert (info["kind"], info["status"], info["crossings"]) == ("crossover", "complete", said["crossings"])
    pairs = read_pairs(folder)
    assert [pair["pair"] for pair in pairs] == list(range(said["pairs"]))
    assert any(len(pair["cells"]) > 1 for pair in pairs), "a pair visits several places"


@pytest.mark.slow
def test_places_that_fail_are_named_and_the_others_are_answered(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "small.py"
    file.write_text(dedent(FAILING), encoding="utf-8")
    names = ["numpy/naive", "numpy/small", "--impls", str(file), "--range", "64:512", "--budget", "60s"]
    done = cli("crossover", *names, "--json", "--quiet")
    said = done.document
    assert done.code == 1, said["reason"]
    stops = {stop["x"]: stop["status"] for stop in said["stopped"] if stop["side"] == "numpy/small"}
    assert stops == {128: "unsupported", 256: "wrong", 512: "oom"}
    assert "numpy/small is left out at T = 128: not supported (no lengths between 100 and 200)." in said["reason"]
    assert "numpy/small is left out at T = 256: wrong" in said["reason"]
    assert "numpy/small stops at T = 512: out of memory" in said["reason"]
    assert {place["at"] for place in said["places"]} == {64}
    assert "tokens" not in said["setting"]


def test_a_budget_in_which_a_pair_is_begun_and_not_finished_cannot_tell_and_says_so(cli: Cli) -> None:
    done = cli("crossover", "numpy/naive", "numpy/blocked", "--range", "32:64", "--budget", "2.6s", "--quiet")
    assert done.code in (3, 5)
    assert done.out.startswith("it cannot be told: ")
    assert done.code == 3 or "the budget was over before a pair was measured; type a longer one" in done.out
