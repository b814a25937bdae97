"""The fingerprint is collected where files are missing, and says what it knows."""

from pathlib import Path
from typing import Any

import pytest

from attnbench.backends.discover import backends
from attnbench.results import fingerprint as module
from attnbench.results.fingerprint import (
    collect_fingerprint,
    describe,
    git_state,
    machine_name,
    machine_names,
    machine_of,
)
from attnbench.results.schema import Gpu
from tests.results import synthetic


def _write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("DOT", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_an_empty_system_is_described_without_guessing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("shutil.which", lambda _: None)
    found = collect_fingerprint(tmp_path, tmp_path)
    assert found.hardware.cpu_model is None
    assert found.hardware.caches == {}
    assert found.hardware.gpus == ()
    assert (found.governor, found.turbo, found.cpu_limit, found.memory_limit_bytes, found.git) == (None,) * 5
    assert found.machine_id


def test_what_linux_says_is_read(tmp_path: Path) -> None:
    _write(
        tmp_path,
        proc__cpuinfo="processor : 0\nmodel name : Fast CPU\nflags : hypervisor sse\n",
        sys__devices__system__cpu__cpu0__cache__index0__level="1",
        sys__devices__system__cpu__cpu0__cache__index0__type="Data",
        sys__devices__system__cpu__cpu0__cache__index0__size="48K",
        sys__devices__system__cpu__cpu0__cpufreq__scaling_governor="performance\n",
        sys__devices__system__cpu__intel_pstate__no_turbo="1",
        sys__fs__cgroup__cpuDOTmax="150000 100000",
        sys__fs__cgroup__memoryDOTmax=str(2**20),
    )
    found = collect_fingerprint(tmp_path, tmp_path)
    assert found.hardware.cpu_model == "Fast CPU"
    assert found.hardware.caches == {"L1d": "48K"}
    assert (found.governor, found.turbo, found.virtual) == ("performance", "off", "virtual machine")
    assert (found.cpu_limit, found.memory_limit_bytes) == (1.5, 2**20)


def test_the_older_control_groups_are_read(tmp_path: Path) -> None:
    _write(
        tmp_path,
        sys__fs__cgroup__cpu__cpuDOTcfs_quota_us="50000",
        sys__fs__cgroup__cpu__cpuDOTcfs_period_us="100000",
        sys__fs__cgroup__memory__memoryDOTlimit_in_bytes="9223372036854771712",
    )
    found = collect_fingerprint(tmp_path, tmp_path)
    assert (found.cpu_limit, found.memory_limit_bytes) == (0.5, None)


def test_gpus_come_from_their_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_command", lambda *_: "Example GPU, 81559, 555.42\nOther, [N/A], ")
    first, second = module._gpus()
    assert (first.name, first.memory_bytes, first.driver) == ("Example GPU", 81559 * 2**20, "555.42")
    assert (second.memory_bytes, second.driver) == (None, None)


@pytest.mark.parametrize(
    ("told", "names"),
    [("gpus GPU-b", ["T4"]), ("gpus", []), ("gpus GPU-a GPU-b", ["A100", "T4"]), (None, ["A100", "T4"])],
)
def test_gpus_that_this_process_may_not_use_are_none_of_its_machine(
    told: str | None, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = "A100, 81559, 555.42, GPU-a\nT4, 15360, 555.42, GPU-b"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"for this test: {told}")
    monkeypatch.setattr(module, "_command", lambda program, *_: listed if program == "nvidia-smi" else told)
    assert [gpu.name for gpu in module._gpus()] == names


def test_git_says_whether_files_were_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"rev-parse": "abc", "status": " M file"}
    monkeypatch.setattr(module, "_command", lambda *command: answers[command[3]])
    assert git_state() == "abc+"
    answers["status"] = ""
    assert git_state() == "abc"
    answers["rev-parse"] = ""
    assert git_state() is None


def test_every_framework_of_a_backend_is_looked_at() -> None:
    required = {name for card in backends().values() for name in (card.requires, *card.also)}
    assert required <= set(module.PACKAGES)


def test_two_collections_of_one_machine_agree() -> None:
    assert collect_fingerprint().machine_id == collect_fingerprint().machine_id


def test_the_description_is_for_people() -> None:
    found = describe(synthetic.fingerprint())
    assert found["CPU"] == "Example CPU @ 2.60GHz"
    assert found["torch reports"] == "torch 2.13.0, blas MKL 2024.2"
    assert "Governor" not in found


@pytest.mark.parametrize(
    "changes",
    [
        {"git": "fedcba987654+"},
        {"git": None},
        {"packages": {"numpy": "1.0.0"}},
        {"frameworks": {}},
        {"thread_pools": {}},
    ],
)
def test_the_code_and_its_packages_are_no_part_of_the_machine(changes: dict[str, Any]) -> None:
    assert machine_of(synthetic.fingerprint(**changes)) == machine_of(synthetic.fingerprint())


@pytest.mark.parametrize(
    "changes",
    [
        {"kernel": "Linux 7.0"},
        {"governor": "powersave"},
        {"cpu_limit": 1.0},
        {"memory_limit_bytes": 2**30},
        {"usable_cpus": 1},
        {"python": "CPython 3.12.1"},
        {"hardware": synthetic.fingerprint().hardware.model_copy(update={"caches": {"L1d": "32K"}})},
    ],
)
def test_what_makes_times_others_makes_another_machine_and_its_name_says_so(changes: dict[str, Any]) -> None:
    one, other = synthetic.fingerprint(), synthetic.fingerprint(**changes)
    assert machine_of(one) != machine_of(other)
    names = machine_names(
        [one, other, synthetic.fingerprint(hardware=one.hardware.model_copy(update={"cpu_model": "Z"}))]
    )
    assert len(set(names)) == 3
    assert names[2] == "Z, 2 cores, virtual machine"
    assert machine_names([one]) == [machine_name(one)] == ["Example CPU @ 2.60GHz, 2 cores, virtual machine"]


def test_a_driver_makes_another_machine_of_the_same_hardware() -> None:
    hardware = synthetic.fingerprint().hardware
    old, new = (
        synthetic.fingerprint(hardware=hardware.model_copy(update={"gpus": (Gpu(name="H100", driver=driver),)}))
        for driver in ("550.1", "560.2")
    )
    assert old.machine_id == new.machine_id
    assert machine_of(old) != machine_of(new)
    assert [name.rpartition("driver ")[2] for name in machine_names([old, new])] == ["550.1)", "560.2)"]
