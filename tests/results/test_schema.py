"""The status decides which fields exist; the published schema is current; ids are stable."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.results.schema import (
    SCHEMA_FILE,
    SCHEMA_VERSION,
    CellResult,
    Gpu,
    Sample,
    case_columns,
    schema_text,
    write_schema,
)
from tests.repository import DOCS
from tests.results import synthetic

BASE: dict[str, Any] = {
    "run_id": "r",
    "suite": "s",
    "cell_id": "c",
    "case_id": "k",
    "block_id": "b",
    "case_label": "forward B1",
    "impl": "numpy/naive",
    "backend": "numpy",
    "variant": "naive",
}
OK: dict[str, Any] = BASE | {
    "status": "ok",
    "error_ratio": 0.2,
    "n_samples": 30,
    "n_bursts": 10,
    "time_median_s": 1e-3,
    "time_low_s": 0.9e-3,
    "time_high_s": 1.2e-3,
}


def test_an_ok_row_and_a_row_of_every_other_status_are_accepted() -> None:
    assert CellResult(**OK).status == "ok"
    for status in ("wrong", "unsupported", "oom", "timeout", "crashed", "not-run"):
        assert CellResult(**BASE, status=status, reason="because").reason == "because"
    assert CellResult(**BASE, kind="observed", status="ok", metrics={"slope": 1.0}).metrics["slope"] == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_samples": None}, "a timed cell that is ok needs n_samples"),
        ({"error_ratio": None}, "a timed cell that is ok needs error_ratio"),
        ({"error_ratio": 1.01}, "its status is wrong"),
        ({"error_ratio": float("nan")}, "its status is wrong"),
        ({"time_median_s": 0.0}, "a time above 0"),
        ({"time_median_s": float("nan")}, "a time above 0"),
        ({"n_bursts": 0}, "ok without a sample"),
        ({"time_low_s": 1.1e-3}, "does not hold the median"),
        ({"time_high_s": None}, "does not hold the median"),
        ({"status": "crashed"}, "status crashed needs a reason"),
        ({"status": "crashed", "reason": "SIGSEGV"}, "cannot have n_samples, n_bursts, time_median_s"),
        ({"status": "fine"}, "Input should be 'ok', 'wrong'"),
        ({"speed": 3}, "Extra inputs are not permitted"),
        ({"kind": "observed"}, "an observed cell that is ok has metrics"),
        ({"threads": 0}, "greater than or equal to 1"),
    ],
)
def test_a_row_that_contradicts_its_status_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CellResult(**(OK | changes))


def test_rows_are_immutable() -> None:
    row = CellResult(**OK)
    with pytest.raises(ValidationError, match="frozen"):
        row.status = "wrong"  # type: ignore[misc]


@pytest.mark.parametrize("wall", [0.0, -1.0, float("nan"), float("inf")])
def test_a_sample_has_a_real_time(wall: float) -> None:
    with pytest.raises(ValidationError):
        Sample(run_id="r", cell_id="c", replicate=0, burst=0, index=0, calls=1, wall_s=wall)


def test_the_published_schema_is_current() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), (
        "schema.json is stale. Type: python -c 'from attnbench.results.schema import write_schema; write_schema()'"
    )


def test_the_schema_is_written(tmp_path: Any) -> None:
    found = json.loads(write_schema(tmp_path / "schema.json").read_text(encoding="utf-8"))
    assert set(found["records"]) == {"RunInfo", "CellResult", "Sample"}
    assert "time_median_s" in found["records"]["CellResult"]["properties"]


def test_the_columns_of_a_case_say_what_it_is() -> None:
    spec = AttentionSpec(causal=True, window=(4, 0), softcap=30.0)
    case = Case(spec, Problem(Hq=4, Hkv=2, Tq=8, D=16, operands=("bias", "mask_keys")))
    found = case_columns(case)
    assert (found["Hq"], found["Hkv"], found["S"], found["Dv"]) == (4, 2, 8, 16)
    assert found["mask_kinds"] == "causal+window[4, 0]+bias+mask_keys"
    assert (found["scale"], found["softcap"], found["score"]) == ("default", 30.0, "dot")
    assert Case.from_dict(found["case"]) == case
    assert case_columns(None) == {}


def test_the_machine_is_its_hardware() -> None:
    here = synthetic.fingerprint()
    assert here.machine_id == synthetic.fingerprint(kernel="Linux 7", git=None).machine_id
    hardware = here.hardware
    for change in ({"cpu_model": "Another"}, {"logical_cores": 4}, {"memory_bytes": 8 * 2**30}):
        other = hardware.model_copy(update=change)
        assert other.id != hardware.id, change
    a_bit_less = hardware.model_copy(update={"memory_bytes": 24 * 2**30 - 2**20})
    assert a_bit_less.id == hardware.id
    old, new = (hardware.model_copy(update={"gpus": (Gpu(name="G", driver=d),)}) for d in ("1", "2"))
    assert old.id == new.id != hardware.id


def test_a_worker_adds_what_its_framework_reports() -> None:
    found = synthetic.fingerprint(frameworks={}, thread_pools={}).with_framework("jax", {"jax": "0.10"}, {"xla": 2})
    assert found.frameworks == {"jax": {"jax": "0.10"}}
    assert found.thread_pools == {"jax": {"xla": 2}}


def test_the_page_on_results_explains_every_column_and_every_version() -> None:
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    unexplained = [name for model in (CellResult, Sample) for name in model.model_fields if f"`{name}`" not in page]
    assert unexplained == []
    assert [f"| {version} | " in page for version in range(1, SCHEMA_VERSION + 1)] == [True] * SCHEMA_VERSION
    assert f"| {SCHEMA_VERSION + 1} | " not in page
