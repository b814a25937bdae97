"""The kernel for Hopper in Pallas' interpreter: it agrees, and faults planted into it are found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from attnbench.impls import jax_backend
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


@pytest.mark.parametrize(
    ("right", "wrong", "why"),
    [
        ("filled(v, KEYS), call", "filled(v, 1), call", "Out-of-bounds read"),
        (
            "            wait_until_read(tile)\n\n        slot",
            "            pass\n\n        slot",
            "did not observe all",
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
