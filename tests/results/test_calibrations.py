"""Calibrations as files: where they are kept, what is in them, and what is said of a damaged one."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from attnbench.errors import ResultsError
from attnbench.results.calibrations import VARIABLE, folder, for_machine, save
from tests.results import synthetic


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have folders of their own")
@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "home/.local/share/attnbench/calibration"),
        ({"XDG_DATA_HOME": ""}, "home/.local/share/attnbench/calibration"),
        ({"XDG_DATA_HOME": "{}/xdg"}, "xdg/attnbench/calibration"),
        ({"XDG_DATA_HOME": "{}/xdg", VARIABLE: "{}/named"}, "named/calibration"),
        ({VARIABLE: ""}, "home/.local/share/attnbench/calibration"),
    ],
)
def test_the_folder_is_the_users_own_unless_a_variable_names_another(
    variables: dict[str, str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (VARIABLE, "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "{}/home", **variables}.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    assert folder() == tmp_path / expected


def test_looking_for_a_calibration_makes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert for_machine("m") is None
    assert list(tmp_path.iterdir()) == []


def test_what_is_saved_is_read_again(data: Path) -> None:
    first, second = synthetic.self_comparison((0.01, -0.02), margin=0.03), synthetic.self_comparison(())
    kept = synthetic.calibration(first, second, startup_s=0.5, live=2, replayed=synthetic.REPLAYED)
    assert save(kept) == data / "calibration" / "m.json"
    assert for_machine("m") == kept
    assert kept.series == ((0.01, -0.02), ())


def test_the_fields_of_a_file_stay(data: Path) -> None:
    save(synthetic.calibration(synthetic.self_comparison(), replayed=synthetic.REPLAYED))
    saved = json.loads((data / "calibration" / "m.json").read_text())
    about = ["machine_id", "made", "trials", "startup_s", "cell_s", "alarms", "low", "high", "replayed", "live", "runs"]
    assert list(saved) == ["format", "version", *about]
    assert list(saved["trials"][0]) == ["started", "impl", "case_label", "threads", "verdict", "log_ratios", "margin"]
    assert saved["replayed"]["found"] == {"11": None, "20": 0.1}


def test_a_description_has_no_log_ratios() -> None:
    described = synthetic.calibration(synthetic.self_comparison((0.01, 0.02)), replayed=synthetic.REPLAYED).describe()
    assert "trials" not in described
    assert (described["pairs"], described["cells"], described["machine_id"]) == (2, 1, "m")
    assert described["replayed"]["found"] == {11: None, 20: 0.1}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": "another"}, "another format or version"),
        ({"version": 2}, "another format or version"),
        ({"trials": None}, "trials: Input should be a valid tuple"),
        ({"trials": [{"started": ""}]}, "trials.0.impl: Field required and 4 more"),
        ({"replayed": {**synthetic.REPLAYED.model_dump(), "found": {"x": 0.1}}}, "replayed.found.x"),
        ({"alarms": "many"}, "alarms: Input should be a valid integer"),
        ({"more": 1}, "more: Extra inputs are not permitted"),
    ],
)
def test_a_damaged_file_is_told_with_what_is_wrong_and_what_to_type(
    change: dict[str, Any], why: str, data: Path
) -> None:
    path = save(synthetic.calibration(synthetic.self_comparison()))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ResultsError) as told:
        for_machine("m")
    said = str(told.value)
    assert said.startswith(f"{data / 'calibration' / 'm.json'} is damaged ({why}")
    assert said.endswith("); remove it and type: attnbench calibrate")
    assert "\n" not in said


@pytest.mark.parametrize("name", ["machine_id", "made", "trials", "replayed"])
def test_a_file_without_one_of_its_fields_is_damaged(name: str, data: Path) -> None:
    del data
    path = save(synthetic.calibration(synthetic.self_comparison()))
    saved = json.loads(path.read_text())
    del saved[name]
    path.write_text(json.dumps(saved))
    with pytest.raises(ResultsError, match=f"is damaged \\({name}: Field required\\)"):
        for_machine("m")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"text"', "{}"])
def test_what_is_no_calibration_at_all_is_damaged_too(text: str, data: Path) -> None:
    path = data / "calibration" / "m.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ResultsError, match=r"is damaged .*type: attnbench calibrate"):
        for_machine("m")


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file"))
    with pytest.raises(ResultsError, match=f"name another folder with {VARIABLE}"):
        save(synthetic.calibration())
