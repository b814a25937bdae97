"""The cases that the ``onnx`` package brings: all of them on the naive implementations, and the table of the docs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import pytest

from tests.repository import DOCS

pytest.importorskip("onnx", reason="the onnx extra is not installed")

from attnbench.agree.onnx.cases import node_case, node_cases
from attnbench.agree.onnx.check import check_node_case, why_not
from attnbench.agree.onnx.node import translate
from attnbench.backends.attend import resolve
from attnbench.errors import UsageError
from tests.onnx.kernels import FAULTS, faulty

PAGE = DOCS / "onnx.md"
LINE = re.compile(r"^\| `(\w+/[\w-]+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|", re.MULTILINE)
# XLA compiles every node: the naive one gets them all, the other those of one opset.
SLOW = {"jax/naive": pytest.mark.slow}
SAMPLED = {"jax/nn-xla": 25}
NAIVE = ("numpy/naive", "torch/naive", "jax/naive")
TABLE = {line[1]: tuple(map(int, line.groups()[1:])) for line in LINE.finditer(PAGE.read_text(encoding="utf-8"))}


@pytest.fixture
def quick_compiler() -> Iterator[None]:
    """XLA compiles each of the nodes; what they mean does not depend on how hard it tries."""
    if find_spec("jax") is None:
        yield
        return
    import jax

    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def test_there_are_93_and_the_random_generator_is_left_as_it_was() -> None:
    node_cases.cache_clear()
    np.random.seed(5)  # noqa: NPY002  (the global generator is what this is about)
    before = np.random.random(3)  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    assert Counter(case.node.opset for case in node_cases().values()) == {23: 69, 24: 13, 25: 11}
    assert (np.random.random(3) == before).all()  # noqa: NPY002
    assert not any("expanded" in name for name in node_cases())
    assert {(case.rtol, case.atol) for case in node_cases().values()} == {(1e-3, 1e-7)}


def test_an_unknown_case_is_named_with_a_near_one() -> None:
    with pytest.raises(UsageError, match="did you mean 'test_attention_4d_causal'"):
        node_case("test_attention_4d_casual")


@pytest.mark.parametrize("impl", TABLE)
def test_the_table_of_the_docs_says_what_is_supported(impl: str) -> None:
    pytest.importorskip(impl.partition("/")[0])
    _, implementation = resolve(impl)
    nodes = [case.node for case in node_cases().values()]
    supported = Counter(node.opset for node in nodes if why_not(implementation, translate(node), "cpu") is None)
    assert (*(supported[opset] for opset in (23, 24, 25)), sum(supported.values())) == TABLE[impl]


@pytest.mark.usefixtures("quick_compiler")
@pytest.mark.parametrize("impl", [pytest.param(impl, marks=SLOW.get(impl, ())) for impl in TABLE])
def test_what_is_supported_agrees(impl: str) -> None:
    pytest.importorskip(impl.partition("/")[0])
    backend, implementation = resolve(impl)
    cases = [case for case in node_cases().values() if impl not in SAMPLED or case.node.opset == SAMPLED[impl]]
    rows = [check_node_case(backend, implementation, case) for case in cases]
    assert [row for row in rows if row.status == "wrong"] == []
    assert all(row.reason for row in rows if row.status != "ok")
    if impl in NAIVE:
        assert [row.status for row in rows] == ["ok"] * 93
    # Beyond ONNX's tolerance, as some kernels are in 16 bits on some processors.
    rounded = [row.case for row in rows if row.status == "rounding"]
    assert len(rounded) <= 6
    assert {node_case(name).node.inputs["Q"].dtype.name for name in rounded} <= {"float16", "bfloat16"}


def test_the_table_has_every_naive_implementation_with_all_cases() -> None:
    assert {impl: TABLE[impl] for impl in NAIVE} == dict.fromkeys(NAIVE, (69, 13, 11, 93))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_some_case(fault: str) -> None:
    backend, _ = resolve("numpy/naive")
    rows = [check_node_case(backend, faulty(fault), case) for case in node_cases().values()]
    wrong = [row for row in rows if row.status == "wrong"]
    # A scale that is 1 % off moves these inputs, drawn from U[0, 1), by less than ONNX's tolerance or about as much.
    assert len(wrong) >= (1 if fault == "1 % of scale" else 2)
    assert all(row.reason and row.fault for row in wrong)
