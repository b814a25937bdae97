"""This project's own kernels in Triton, as a precheck asks about them: the plainest case, and the whole as a proof."""

import json

import pytest

from attnbench.backends.discover import backend
from attnbench.commands.app import main
from attnbench.workers.session import Session
from tests.precheck.test_machine import COMPILER

if (why := backend("triton").why_missing()) is not None:
    pytest.skip(why, allow_module_level=True)

SIZES = "B=2 Hq=4 Tq=1024 D=64 dtype=float16"
PLAINEST = {
    "flash": (f"backward {SIZES}", {"attend_tile", "gradients_of_queries", "gradients_of_keys"}),
    "decode": ("B=2 Hq=4 Tq=1 S=4096 D=128 dtype=float16", {"attend_part"}),
    "additive": (f"backward score=additive {SIZES}", {"forward", "backward_of_keys", "backward_of_values"}),
}


@pytest.mark.parametrize(("variant", "case", "multiplying"), [(name, *of) for name, of in PLAINEST.items()])
def test_the_plainest_case_compiles_without_a_spill_and_with_tensor_cores(
    variant: str, case: str, multiplying: set[str]
) -> None:
    with Session("triton", 300.0, COMPILER) as session:
        reply = session.ask(
            "precheck_machine", impl=f"triton/{variant}", files=[], arch="sm_90", dtype="float16", cases=[case]
        )
    assert reply.ok, reply.reason
    assert reply.value["failed"] == reply.value["untold"] == {}
    by_name = {each["kernel"]: each for each in reply.value["variants"]}
    assert multiplying <= set(by_name)
    for name, each in by_name.items():
        assert (each["compiled"], each["spill_bytes"], each["faults"]) == (True, 0, []), name
        assert each["tensor_core"] == bool(each["multiplies"]) == (name in multiplying), name


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("impl", [f"triton/{name}" for name in PLAINEST])
def test_a_whole_precheck_of_our_kernels_finds_nothing_wrong(impl: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["precheck", impl, "--json", "--quiet", "--timeout", "1800"])
    document = json.loads(capsys.readouterr().out)
    wrong = [row for row in (*document["rows"], *document["parts"]) if row["status"] not in ("ok", "unknown")]
    assert (code, wrong, document["untold"]) == (0, [], [])
    assert {row["arch"] for row in document["rows"]} == {"sm_80", "sm_90", "sm_100"}
    assert all(row["compiled"] and row["spill_bytes"] == 0 for row in document["rows"])
