"""The worker's side of ``attnbench check``: which rows there are for an implementation, and one row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attnbench import discover
from attnbench.measure.diagnosing import diagnosis_operations
from attnbench.measure.protocol import OK

if TYPE_CHECKING:
    from attnbench.backend import Backend

Done = tuple[str, str | None, dict[str, Any]]


def check_operations(backend: Callable[[], Backend]) -> dict[str, Callable[..., Done]]:
    """The operations by their names in the protocol; ``backend`` is asked when one is called."""

    def check_plan(impl: str, files: list[str], dtypes: list[str], features: list[str], device: str) -> Done:
        """The (feature, dtype) pairs to check."""
        from attnbench.agree.check import plan_rows

        kernel = discover.load_implementation(impl, files)
        return OK, None, {"pairs": plan_rows(kernel, dtypes, features, device)}

    def check(impl: str, files: list[str], feature: str, dtype: str, device: str, deep: bool) -> Done:  # noqa: FBT001
        """One row of the table."""
        from attnbench.agree.check import check_feature

        kernel = discover.load_implementation(impl, files)
        row = check_feature(backend(), kernel, feature, dtype, device, deep=deep)
        return OK, None, row.to_dict()

    def check_random(
        impl: str, files: list[str], dtypes: list[str], first: int, count: int, seed: int, draws: int, device: str
    ) -> Done:
        """Some random cases."""
        from attnbench.agree.random_check import check_random

        kernel = discover.load_implementation(impl, files)
        return OK, None, check_random(backend(), kernel, tuple(dtypes), first, count, seed, draws, device).to_dict()

    def semantics_plan(device: str) -> Done:
        """The native kernels of this backend on the device, and those that are not installed with what they require."""
        own = [one for one in discover.backend(backend().name).native_kernels() if device in one.devices]
        there = device in backend().devices()
        kernels = [one.name for one in own if one.available() and there]
        return OK, None, {"kernels": kernels, "missing": {one.name: one.requires for one in own if not one.available()}}

    def semantics(kernel: str, probe: str, device: str) -> Done:
        """What one native kernel does in one edge case."""
        from attnbench.agree.semantics import find

        found = next(one for one in discover.backend(backend().name).native_kernels() if one.name == kernel)
        return OK, None, find(backend(), found, probe, device).to_dict()

    def onnx_plan(nodes: int, seed: int) -> Done:
        """The ONNX cases, or the random nodes, that there are: names and opsets."""
        from attnbench.agree.onnx_check import plan

        return OK, None, {"cases": plan(nodes, seed)}

    def check_onnx(impl: str, files: list[str], case: str, device: str) -> Done:
        """One ONNX Attention node."""
        from attnbench.agree.onnx_check import check_named

        kernel = discover.load_implementation(impl, files)
        return OK, None, check_named(backend(), kernel, case, device).to_dict()

    return {
        "check_plan": check_plan,
        "check": check,
        "check_random": check_random,
        "semantics_plan": semantics_plan,
        "semantics": semantics,
        **diagnosis_operations(backend),
        "onnx_plan": onnx_plan,
        "check_onnx": check_onnx,
    }
