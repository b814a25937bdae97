"""This project's own kernels in Triton, as a precheck asks about them: the plainest case, and the whole as a proof."""

import json
from collections.abc import Iterator

import pytest
import torch

from attnbench.backends.discover import backend
from attnbench.commands.app import main
from attnbench.precheck.triton.standin import standing_in
from attnbench.precheck.triton.twins import Twins
from attnbench.precheck.triton.watched import no_time
from attnbench.workers.session import Session
from tests.precheck.test_machine import COMPILER

if (why := backend("triton").why_missing()) is not None:
    pytest.skip(why, allow_module_level=True)

SIZES = "B=2 Hq=4 Tq=1024 D=64 dtype=float16"
OF_FLASH = {"attend_tile", "gradients_of_queries", "gradients_of_keys"}
OF_ADDITIVE = {"forward", "backward_of_queries", "backward_of_keys", "backward_of_values"}
# The plainest case of each, and its kernels that multiply matrices.
PLAINEST = {
    "flash": (f"backward {SIZES}", OF_FLASH),
    "decode": ("B=2 Hq=4 Tq=1 S=4096 D=128 dtype=float16", {"attend_part"}),
    "additive": (f"backward score=additive {SIZES}", OF_ADDITIVE),
}


@pytest.fixture(scope="module")
def compiler() -> Iterator[Session]:
    """A worker whose kernels are compiled."""
    with Session("triton", 300.0, COMPILER) as session:
        yield session


@pytest.mark.parametrize("variant", PLAINEST)
def test_the_plainest_case_compiles_without_a_spill_and_with_tensor_cores(variant: str, compiler: Session) -> None:
    case, multiplying = PLAINEST[variant]
    how = {"arch": "sm_90", "dtype": "float16", "cases": [case]}
    reply = compiler.ask("precheck_machine", impl=f"triton/{variant}", files=[], **how)  # type: ignore[arg-type]
    assert reply.ok, reply.reason
    assert reply.value["failed"] == reply.value["untold"] == {}
    by_name = {each["kernel"]: each for each in reply.value["variants"]}
    for name, each in by_name.items():
        assert (each["compiled"], each["spill_bytes"], each["faults"]) == (True, 0, []), name
    assert {name for name, each in by_name.items() if each["multiplies"]} == multiplying
    assert {name for name, each in by_name.items() if each["tensor_core"]} == multiplying


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
def test_a_precheck_interprets_the_tiles_of_each_architecture(arch: str) -> None:
    from attnbench.impls.triton_backend import tiles
    from attnbench.impls.triton_backend.learned.additive import SIDE, TileSizes
    from attnbench.impls.triton_backend.table import TABLE

    q = torch.zeros(1, 1, 40, 64, dtype=torch.float16)
    rules = dict.fromkeys(tiles.LOADED)
    row = TABLE[int(arch.removeprefix("sm_"))]["half"]
    with standing_in(arch, no_time):
        assert tiles.of("keys", q, q, rules)[:4] == row["keys"][64]
        assert tiles.of("decode", q, q, rules)[:4] == row["decode"][64]
        assert (TileSizes.of(q, q, 8).side, TileSizes.of(q, q, 8).chunk) == (SIDE, 1)
        assert TileSizes.of(q, q, 1024).side > SIDE, "too many steps for an interpreter"
    assert tiles.of("decode", q, q, rules)[:2] == (16, 64)


def test_small_tensors_without_memory_have_the_values_that_they_were_filled_with() -> None:
    twins, large = Twins(), 2**20
    with twins.following():
        places = torch.empty((4, 3), dtype=torch.int32, device="meta")
        places[:, 1] = 7
        places[0, 2] = torch.tensor([5, 6])[1]
        doubled = (places * 2)[:, 1:]
        unknown = torch.zeros(large, device="meta")[:4]
        places[:, 0] = unknown
        filled = torch.full((2,), 3.0, device="meta")

    def values(tensor: torch.Tensor) -> list[float] | None:
        storage = twins.storage(tensor.untyped_storage())
        if storage.device.type == "meta":
            return None
        seen = torch.empty(0, dtype=tensor.dtype)
        seen.set_(storage, tensor.storage_offset(), tensor.shape, tensor.stride())
        return seen.flatten().tolist()

    assert values(doubled) == [14, 12, 14, 0, 14, 0, 14, 0]
    assert values(filled) == [3.0, 3.0]
    assert values(places) is None, "nobody knows what a large tensor has put there"
    assert values(unknown) is None


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
