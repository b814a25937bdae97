"""The kernel for Hopper in Pallas' interpreter: it agrees, and faults planted into it are found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from attnbench.agree.cases.case_text import case_from_text
from attnbench.attention.problem import Case
from attnbench.impls import jax_backend
from attnbench.impls.jax_backend.gpu import hopper
from attnbench.precheck.mosaic_rows import THREADS, rows_of
from attnbench.workers.process import Setting
from attnbench.workers.session import Session

KERNEL = Path(jax_backend.__file__).parent / "gpu" / "hopper.py"
CASE = "causal align=bottom_right B=1 Hq=1 Tq=40 S=150 D=24 dtype=float16 phase=forward"


@pytest.fixture(scope="module")
def worker() -> Iterator[Session]:
    with Session("jax", 120.0, Setting(threads=THREADS)) as session:
        yield session


def planted(path: Path, right: str, wrong: str) -> Path:
    """The kernel with one thing changed, in a file of its own."""
    source = KERNEL.read_text("utf-8")
    assert right in source
    path.write_text(source.replace(right, wrong, 1).replace("jax/pallas-hopper", "jax/planted"), "utf-8")
    return path


def test_the_kernel_for_hopper_agrees_in_the_interpreter(worker: Session) -> None:
    reply = worker.ask("precheck_interpreted", impl="jax/pallas-hopper", files=[], case=CASE)
    assert reply.ok, reply.reason
    assert reply.value["result"]["status"] == "ok", reply.value["result"]["reason"]
    assert 0 < reply.value["result"]["error_ratio"] < 1
    assert not reply.value["raced"]


def test_every_feature_that_is_claimed_is_asked_and_tiles_are_met_more_than_once(
    worker: Session, tmp_path: Path
) -> None:
    """More than two tiles of keys: a barrier says that one may be overwritten, and a window begins behind one."""
    plan = worker.ask("precheck_interpretable", impl="jax/pallas-hopper", files=[])
    by_feature: dict[str, list[Case]] = {}
    for each in plan.value["cases"]:
        by_feature.setdefault(each["feature"], []).append(case_from_text(each["case"]))
    assert {"causal", "window", "gqa", "softcap", "lse"} <= set(by_feature)
    assert plan.value["unasked"] == []
    long = {
        name for name, cases in by_feature.items() for case in cases if case.problem.S > 3 * 128 < 3 * case.problem.Tq
    }
    assert long == {"sizes", "causal", "window"}
    file = planted(tmp_path / "planted.py", "    lse=True,", "    lse=True,\n    segments=True,")
    source = file.read_text("utf-8").replace('"lengths", "segments",', '"lengths",')
    file.write_text(source, "utf-8")
    told = worker.ask("precheck_interpretable", impl="jax/planted", files=[str(file)])
    assert told.ok, told.reason
    assert "segments" in {each["feature"] for each in told.value["cases"]} | set(told.value["unasked"])


@pytest.mark.parametrize(
    ("platform", "found", "refused"),
    [("gpu", "9.0", False), ("gpu", "8.0", True), ("gpu", "10.0", True), ("cpu", "", False)],
)
def test_a_gpu_that_is_no_hopper_is_refused(platform: str, found: str, *, refused: bool) -> None:
    why = hopper.refusal(SimpleNamespace(platform=platform, compute_capability=found))
    assert (why is not None) == refused
    assert not refused or f"this GPU has {found}" in str(why)


def test_a_row_with_a_nan_has_an_lse_that_is_nan(worker: Session) -> None:
    case = "Hq=1 B=1 Tq=3 S=5 D=8 dtype=float16 operands=nan_query outputs=lse phase=forward"
    reply = worker.ask("precheck_interpreted", impl="jax/pallas-hopper", files=[], case=case)
    assert reply.value["result"]["status"] == "ok", reply.value["result"]["reason"]


@pytest.mark.parametrize(
    ("right", "wrong", "why"),
    [
        ("filled(v, KEYS), call", "filled(v, 1), call", "Out-of-bounds read"),
        (
            "            wait_until_read(tile)\n\n        slot",
            "            pass\n\n        slot",
            "observe",  # of barriers: "did not observe all", or "before previous completion was observed"
        ),
    ],
)
def test_a_read_beyond_an_array_and_a_wait_that_is_left_out_are_named(
    worker: Session, tmp_path: Path, right: str, wrong: str, why: str
) -> None:
    file = planted(tmp_path / "planted.py", right, wrong)
    case = CASE.replace("S=150", "S=300")
    reply = worker.ask("precheck_interpreted", impl="jax/planted", files=[str(file)], case=case)
    assert why in str(reply.reason) + str(reply.value.get("result"))
    if not reply.ok:
        told = [{"feature": "causal", "case": case, "status": reply.status, "reason": reply.reason}]
        (row,) = rows_of("jax/planted", told)
        assert (row.part, row.status) == ("memory", "wrong")
