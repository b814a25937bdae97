"""The table of an engine: what it says of every case, what it refuses, and that its file is what the schema says."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import attnbench as ab
from attnbench.answers.question import WhichOne, question
from attnbench.answers.table import SCHEMA_FILE, ChoiceTable, schema_text
from attnbench.answers.tabulate import tabulated
from attnbench.attention.problem import Case
from attnbench.errors import ResultsError, UsageError
from attnbench.results.fingerprint import collect_hardware
from attnbench.results.schema import Hardware
from tests.answers import planted
from tests.answers.planted import Planted, PlantedRun, wrong
from tests.program import Cli

NAIVE, BLOCKED, SDPA = "numpy/naive", "numpy/blocked", "torch/sdpa"
APART = {NAIVE: Planted(4.0), BLOCKED: Planted(), SDPA: wrong()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ChoiceTable:
    """Two lengths, of which one knows a winner and one does not, and a decoding step."""
    tmp_path = tmp_path_factory.mktemp("results")
    planted.write(tmp_path, APART, PlantedRun("a"))
    equal = {NAIVE: Planted(), BLOCKED: Planted(), SDPA: Planted(5.0)}
    planted.write(tmp_path, equal, PlantedRun("b", asked=question("h4-d64", 1024)))
    decoding = question("h8-2-d64-causal", 2048, phase="decode", threads=2)
    planted.write(tmp_path, APART, PlantedRun("c", asked=decoding))
    planted.write(tmp_path, {NAIVE: Planted()}, PlantedRun("d", asked=question("h4-d64", 4096)))
    table: ChoiceTable = ab.table(tmp_path)
    return table


def test_every_case_has_its_answer_its_equals_and_its_runner_up(made: ChoiceTable) -> None:
    by_length = {(entry.phase, entry.S): entry for entry in made.entries}
    assert set(by_length) == {("forward", 256), ("forward", 1024), ("decode", 2048)}  # alone is no answer
    sure, open_ = by_length["forward", 256], by_length["forward", 1024]
    assert (sure.implementation, sure.equals) == (BLOCKED, ())
    assert sure.runner_up is not None
    assert sure.runner_up.implementation == NAIVE
    assert sure.runner_up.low is not None
    assert sure.runner_up.low < 4 < (sure.runner_up.high or 0)
    assert {open_.implementation, *open_.equals} == {NAIVE, BLOCKED}
    assert open_.runner_up is not None
    assert open_.runner_up.implementation == SDPA


def test_what_has_no_answer_is_said_and_never_chosen(made: ChoiceTable) -> None:
    (gap,) = made.left_out
    assert (gap.S, gap.reason) == (4096, "only one was measured and fits, and others may be faster")
    for nearest in (False, True):
        with pytest.raises(UsageError, match=r"has no answer for .* only one was measured"):
            made.choose(Hq=4, D=64, Tq=4096, nearest=nearest)


def test_two_runs_that_contradict_each_other_are_no_entry_of_a_table(tmp_path: Path) -> None:
    planted.write(tmp_path, {NAIVE: Planted(), BLOCKED: Planted(1.5), SDPA: Planted(5.0)}, PlantedRun("a", seed=1))
    planted.write(tmp_path, {NAIVE: Planted(1.5), BLOCKED: Planted()}, PlantedRun("b", seed=2))
    table, notes = tabulated(tmp_path)
    assert table.entries == ()
    (gap,) = table.left_out
    why = f"two runs of this machine contradict each other: one names {NAIVE}; run b names {BLOCKED}"
    assert gap.reason == why
    assert any(why in note for note in notes)
    with pytest.raises(UsageError, match=f"run b names {BLOCKED}"):
        table.choose(Hq=4, D=64, Tq=256, nearest=True)


def test_an_entry_of_changed_code_says_so_when_it_is_made_and_when_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted.write(tmp_path, APART, PlantedRun("then", git="0123456789ab"))
    assert tabulated(tmp_path)[0].entries[0].changed is None  # git cannot tell: as `best` says
    assert tabulated(tmp_path)[0].why_not_here() == ()
    monkeypatch.setattr("attnbench.answers.since._same", lambda commit, folder: False)  # noqa: ARG005
    table, notes = tabulated(tmp_path)
    changed = "the code of numpy has changed since 0123456789ab"
    assert table.entries[0].changed == changed
    assert any(f"in the table, but since it was measured: {changed}" in note for note in notes)
    assert table.choose(Hq=4, D=64, Tq=256).says.endswith(f"; since it was measured: {changed}")
    assert table.why_not_here() == (f"{changed} (run then)",)


@dataclass(frozen=True)
class Ragged(WhichOne):
    """A question about sequences of unequal lengths, such as a workload has, and no engine can ask."""

    @property
    def case(self) -> Case:
        """The same sizes, and lengths besides."""
        plain = super().case
        problem = replace(plain.problem, B=2, operands=("kv_lengths",), sequences=((256, 200), (256, 256)))
        return replace(plain, problem=problem)


def test_cases_of_unequal_lengths_are_no_entry_for_a_call_that_may_have_others(tmp_path: Path) -> None:
    planted.write(tmp_path, APART, PlantedRun("lengths", asked=Ragged("h4-d64", 256)))
    table, notes = tabulated(tmp_path)
    assert (table.entries, table.left_out) == ((), ())
    assert "sequences of unequal lengths, which an engine cannot ask for" in notes[0]
    with pytest.raises(UsageError, match="has no case like"):
        table.choose(Hq=4, D=64, Tq=256, B=2, operands=("kv_lengths",), nearest=True)


def test_a_table_of_before_is_still_read(made: ChoiceTable, tmp_path: Path) -> None:
    data = made.model_dump(mode="json")
    old = {name: value for name, value in data.items() if name != "left_out"} | {"version": 1}
    old["entries"] = [{n: v for n, v in entry.items() if n != "changed"} for entry in data["entries"]]
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert ab.table.load(tmp_path / "old.json").choose(Hq=4, D=64, Tq=256).implementation == BLOCKED


def test_it_is_read_as_it_was_written(made: ChoiceTable, tmp_path: Path) -> None:
    file = made.save(tmp_path / "table.json")
    assert ab.table.load(file) == made
    data = json.loads(file.read_text())
    assert data["format"] == "attnbench-table"
    assert data["runs"]["a"]["fingerprint"]["frameworks"]["numpy"] == planted.NOW["numpy"]
    assert made.why_not_here() == ()


def test_what_was_measured_is_chosen_exactly_and_the_rest_is_refused(made: ChoiceTable) -> None:
    choice = made.choose(Hq=4, D=64, Tq=256)
    assert (choice.implementation, choice.exact) == (BLOCKED, True)
    assert choice.says == "exactly forward B1 H4 T256 D64 float32 on cpu, threads 1"
    with pytest.raises(UsageError, match=r"Tq 256, not 300, S 256, not 300\): nearest=True takes it"):
        made.choose(Hq=4, D=64, Tq=300)
    near = made.choose(Hq=4, D=64, Tq=300, nearest=True)
    assert (near.implementation, near.exact, near.entry.Tq) == (BLOCKED, False, 256)
    assert near.says.startswith("the nearest, forward B1 H4 T256")


@pytest.mark.parametrize(
    "other", [{"Hq": 8}, {"D": 128}, {"dtype": "bfloat16"}, {"threads": 2}, {"causal": True}, {"phase": "train"}]
)
def test_nothing_but_lengths_and_batches_is_ever_taken_from_near_by(made: ChoiceTable, other: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="has no case like"):
        made.choose(**{"Hq": 4, "D": 64, "Tq": 256, "nearest": True, **other})


def test_a_decoding_step_is_chosen_by_its_keys(made: ChoiceTable) -> None:
    step = made.choose(Hq=8, Hkv=2, D=64, S=2048, phase="decode", causal=True, threads=2)
    assert (step.exact, step.entry.operands) == (True, ("past",))
    with pytest.raises(UsageError, match="needs Tq="):
        made.choose(Hq=4, D=64)


def test_needs_and_memory_are_those_of_every_entry(tmp_path: Path) -> None:
    planted.write(tmp_path, {NAIVE: Planted(2.0), BLOCKED: Planted(peak_bytes=2**30), SDPA: Planted(9.0)})
    table: ChoiceTable = ab.table(tmp_path, memory="1MB")
    assert (table.entries, table.memory_bytes) == ((), 10**6)
    table = ab.table(tmp_path, memory="1MiB")
    assert table.memory_bytes == 2**20
    assert ab.table(tmp_path, memory="8MiB").entries[0].implementation == NAIVE
    with pytest.raises(UsageError, match="did you mean 'window'"):
        ab.table(tmp_path, needs=["windows"])


def test_a_table_of_another_machine_or_of_other_versions_says_so(tmp_path: Path) -> None:
    elsewhere = Hardware(architecture="x86_64", cpu_model="Example CPU")
    planted.write(tmp_path, APART, PlantedRun("there", hardware=elsewhere))
    assert tabulated(tmp_path)[0].entries == ()
    there = ab.table(tmp_path)
    assert isinstance(there, ChoiceTable)
    (why,) = there.why_not_here()
    assert "another machine: Example CPU" in why
    planted.write(tmp_path, APART, PlantedRun("old", frameworks={"numpy": {"numpy": "1.0.0"}}))
    both = ab.table(tmp_path)
    assert isinstance(both, tuple)
    assert [list(table.runs) for table in both] == [["old"], ["there"]]
    (why,) = both[0].why_not_here()
    assert why.startswith("numpy was 1.0.0 in run old")


def test_each_machine_of_the_named_runs_has_a_table_in_a_file_of_its_own(cli: Cli, tmp_path: Path) -> None:
    elsewhere = Hardware(architecture="x86_64", cpu_model="Example CPU")
    planted.write(tmp_path / "r", APART, PlantedRun("there", hardware=elsewhere))
    planted.write(tmp_path / "r", {BLOCKED: Planted(4.0), NAIVE: Planted()}, PlantedRun("here"))
    done = cli("best", "r", "--table", "t.json", "--json").document
    files = {Path(told["table"]).name: told["entries"] for told in done["machines"]}
    here = collect_hardware().id
    assert files == {f"t-{here}.json": 1, f"t-{elsewhere.id}.json": 1}
    assert not Path("t.json").exists()
    chosen = {name: ab.table.load(name).entries[0].implementation for name in files}
    assert chosen == {f"t-{here}.json": NAIVE, f"t-{elsewhere.id}.json": BLOCKED}
    assert "(Example CPU" in cli("best", "r", "--table", "t.json").out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "no table that can be read"),
        ("[]", "no table of attnbench"),
        ('{"format": "attnbench-table", "version": 9}', "version 9"),
        ('{"format": "attnbench-table", "version": 1}', "damaged: made"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "t.json"
    file.write_text(content)
    with pytest.raises(ResultsError) as raised:
        ab.table.load(file)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert file.read_text() == content


def test_the_published_schema_is_that_of_the_code() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), "write it: attnbench.answers.table.write_schema()"


def test_an_engine_that_reads_a_table_loads_no_pandas_and_no_framework(made: ChoiceTable, tmp_path: Path) -> None:
    file = made.save(tmp_path / "table.json")
    code = (
        "import sys, attnbench as ab; "
        f"ab.table.load({str(file)!r}).choose(Hq=4, D=64, Tq=256); "
        "print(sorted({'pandas', 'scipy', 'pyarrow', 'torch', 'jax', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_table_is_shown_in_a_notebook(made: ChoiceTable) -> None:
    assert made._repr_html_().count("<tr>") == len(made.entries) + 1


def test_runs_under_other_limits_have_tables_of_their_own(cli: Cli, tmp_path: Path) -> None:
    hardware = Hardware(architecture="x86_64", cpu_model="Example CPU")
    planted.write(tmp_path / "r", APART, PlantedRun("all", hardware=hardware))
    few = planted.write(tmp_path / "r", {BLOCKED: Planted(4.0), NAIVE: Planted()}, PlantedRun("few", hardware=hardware))
    info = json.loads((few / "run.json").read_text())
    info["fingerprint"]["cpu_limit"] = 4.0
    (few / "run.json").write_text(json.dumps(info))
    first, second = cli("best", "r", "--table", "t.json", "--json").document["machines"]
    assert first["table"].startswith(f"t-{hardware.id}-")
    assert first["table"] != second["table"]
    assert (first["entries"], second["entries"]) == (1, 1)
    assert "CPU limit: 4 cores" in first["machine"] + second["machine"]
