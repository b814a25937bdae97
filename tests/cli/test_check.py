"""``attnbench check``: exit status, the property that failed and by how much, and one JSON document."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.dropins import HEAD, RIGHT, WRONG
from tests.program import Cli


def test_a_right_drop_in_passes(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(RIGHT)
    done = cli("check", "--quick", "--impls", file)
    assert done.code == 0, done.out
    assert "numpy/mine" in done.out
    assert "all that was compared agrees" in done.out


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_wrong_drop_in_is_named_with_its_fault(cli: Cli, tmp_path: Path, name: str) -> None:
    source, fault = WRONG[name]
    file = tmp_path / "mine.py"
    file.write_text(source)
    done = cli("check", "--quick", "--impls", file, "--dtype", "float32", "--features", "sizes,scale", "--json")
    assert done.code == 1
    wrong = [row for row in done.document["rows"] if row["status"] == "wrong"]
    assert wrong
    assert {row["fault"] for row in wrong} == {fault}
    assert all(row["reason"] for row in wrong)


def test_a_disagreement_says_by_how_much_and_how_to_see_it_again(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(WRONG["scale"][0])
    done = cli("check", "--quick", "--impls", file, "--dtype", "float32", "--features", "sizes")
    assert done.code == 1
    assert "times what rounding explains" in done.out
    assert "again: attnbench check numpy/mine" in done.out


def test_an_announced_implementation_passes_in_every_dtype(cli: Cli) -> None:
    done = cli("check", "--quick", "numpy/naive", "--features", "lengths,mask,bias,softcap,additive", "--json")
    assert done.code == 0
    rows = done.document["rows"]
    assert {row["dtype"] for row in rows} == {"float64", "float32", "bfloat16", "float16"}
    assert all(row["status"] == "ok" and row["error_ratio"] <= 1 and row["gradient_ratio"] <= 1 for row in rows)


def test_nothing_compared_is_not_a_pass(cli: Cli) -> None:
    done = cli("check", "--quick", "numpy/loops", "--features", "dropout", "--json")
    assert done.code == 5
    assert {row["status"] for row in done.document["rows"]} == {"unsupported"}


BAD = [
    (["check", "numpy/naiv"], "numpy/naive"),
    (["check", "--dtype", "float8"], "float64, float32, bfloat16, float16"),
    (["check", "--features", "masks"], "did you mean 'mask'?"),
    (["check", "--impls", "nowhere.py"], "no such file"),
    # What would say nothing is refused, so that nobody believes that it was heard.
    (
        ["check", "--case", "Tq=3", "--deep"],
        "--deep would say nothing beside --case: --deep goes with the check of every",
    ),
    (["check", "--random", "2", "--junit", "rows.xml"], "--junit goes with --case or the check of every feature"),
    (["check", "--onnx", "--dtype", "float32"], "--dtype would say nothing beside --onnx"),
    (["check", "--case", "Tq=3", "--require", "deterministic"], "--require goes with the check of every feature"),
    (["check", "--random", "2", "--case", "Tq=3"], "--case is a check by itself"),
    (["check", "--draws", "3"], "--draws goes with --random"),
    (["check", "--random", "-2"], "--random and --seed are 0 or more"),
    (["check", "--random", "2", "--draws", "0"], "--draws 1 or more; got 2, 0 and 0"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_bad_input_is_one_clear_line(cli: Cli, arguments: list[str], said: str) -> None:
    done = cli(*arguments)
    assert done.code == 2
    assert said in done.err
    assert done.out == ""
    assert len(done.err.strip().splitlines()) == 1


def test_a_file_without_an_implementation(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "empty.py"
    file.write_text(HEAD)
    done = cli("check", "--quick", "--impls", file)
    assert done.code == 2
    assert "no implementation in it" in done.err


def test_a_file_that_does_not_import(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("import nothing_of_this_name\n" + RIGHT)
    done = cli("check", "--quick", "--impls", file)
    assert done.code in (1, 2)
    assert "nothing_of_this_name" in done.err + done.out


def test_random_combinations_of_a_right_drop_in(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(RIGHT)
    done = cli("check", "--impls", file, "--random", "12", "--seed", "3")
    assert done.code == 0, done.out
    assert "classes of boundaries seen" in done.out
    assert "numpy/mine" in done.out


@pytest.mark.parametrize("name", ["scale", "raises", "dies"])
def test_random_combinations_of_a_wrong_drop_in(cli: Cli, tmp_path: Path, name: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(WRONG[name][0])
    done = cli("check", "--impls", file, "--random", "4", "--dtype", "float32", "--json")
    assert done.code == 1
    (found,) = done.document["random"]
    assert found["wrong"] >= 1
    assert found["cases"] == 4
    assert all(one["case"] and one["reason"] for one in found["disagreements"])
    assert found["coverage"]["pairs"] > 100 or name == "dies"


def test_random_combinations_in_a_dtype_that_is_not_declared(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(RIGHT)
    assert cli("check", "--impls", file, "--random", "4", "--dtype", "float16").code == 5
    assert cli("check", "--impls", file, "--random", "4", "--dtype", "float17").code == 2
