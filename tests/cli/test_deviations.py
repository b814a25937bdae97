"""``attnbench check`` with known deviations planted beside a backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from attnbench.agree.check.deviations import FILE
from attnbench.agree.check.rows import CheckRow
from tests.agree.test_deviations import ENTRY
from tests.program import Cli

Plant = Callable[[str], None]
ASKED = ["numpy/loops", "--features", "scale", "--dtype", "float32"]
SCALE = ENTRY.replace("numpy/blocked", "numpy/loops").replace('"causal"', '"scale"')


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Plant:
    """Write the file that the backends' packages are then found to have."""

    def write(text: str) -> None:
        (tmp_path / FILE).write_text(text)
        monkeypatch.setattr("attnbench.agree.check.deviations.files", lambda _: tmp_path)

    return write


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """An announced implementation that disagrees."""
    row = CheckRow("numpy/loops", "scale", "float32", "cpu", "wrong", 5, 2.5, fault="value", reason="is off")
    monkeypatch.setattr("attnbench.checking.features.check", lambda *_: [row])


@pytest.fixture
def right(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that agrees."""
    row = CheckRow("numpy/loops", "scale", "float32", "cpu", "ok", 5, 0.5)
    monkeypatch.setattr("attnbench.checking.features.check", lambda *_: [row])


@pytest.mark.usefixtures("wrong")
def test_a_known_deviation_is_shown_and_passes(cli: Cli, plant: Plant) -> None:
    assert cli("check", "--quick", *ASKED).code == 1
    plant(SCALE)
    done = cli("check", "--quick", *ASKED)
    assert done.code == 0, done.out
    assert "known value" in done.out
    assert "known numpy/loops scale float32: the last row is off" in done.out
    assert "but for 1 known deviation" in done.out


@pytest.mark.usefixtures("wrong")
def test_a_known_deviation_is_a_status_in_json(cli: Cli, plant: Plant) -> None:
    plant(SCALE)
    (row,) = cli("check", "--quick", *ASKED, "--json").document["rows"]
    assert (row["status"], row["fault"]) == ("known", "value")


@pytest.mark.usefixtures("wrong")
def test_a_larger_deviation_than_is_known_fails(cli: Cli, plant: Plant) -> None:
    plant(SCALE.replace("3.0", "1.5"))
    assert cli("check", "--quick", *ASKED).code == 1


@pytest.mark.usefixtures("right")
def test_an_entry_that_no_longer_holds_fails_and_says_what_to_delete(cli: Cli, plant: Plant, tmp_path: Path) -> None:
    plant(SCALE)
    done = cli("check", *ASKED)
    assert done.code == 1
    assert f"delete or narrow the entry in {tmp_path / FILE}, entry 1" in done.out
    for part in (["--quick"], ["--budget", "1m"]):
        assert cli("check", *part, *ASKED).code == 0, "a part of the cases may have missed it"


def test_a_malformed_file_is_wrong_usage(cli: Cli, plant: Plant, tmp_path: Path) -> None:
    plant(SCALE.replace("fault", "faults"))
    done = cli("check", "--quick", *ASKED)
    assert done.code == 2
    assert f"{tmp_path / FILE}, entry 1 has an unknown key 'faults'" in done.err
    assert done.out == ""
