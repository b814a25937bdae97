"""The worker's side of checking: of ``attnbench check``, its random cases and ONNX, and of ``attnbench semantics``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench.backends import discover
from attnbench.errors import device_not_there
from attnbench.workers.protocol import OK, UNSUPPORTED, Done

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend


def plan_operations(backend: Callable[[], Backend]) -> dict[str, Callable[..., Done]]:
    """The operations that plan a check, and that judge its cases at boundaries; as in ``check_operations``."""

    def check_plan(
        impl: str, files: list[str], dtypes: list[str], features: list[str], device: str, depth: str
    ) -> Done:
        """The (feature, dtype) pairs to check, how many sweeps the plan has, and whether there are gradients."""
        from attnbench.agree.cases.by_feature import FEATURES
        from attnbench.agree.cases.plan import DEEP, sweeps_of
        from attnbench.agree.check.rows import plan_rows

        implementation, there = discover.load_implementation(impl, files), backend().devices()
        if device in implementation.capabilities_on(device).devices and device not in there:
            return UNSUPPORTED, device_not_there(device, implementation.backend, there), {}
        compiles = discover.compiles(implementation)
        pairs = plan_rows(implementation, dtypes, features, device, sparing=compiles and depth != DEEP)
        planned = not features or not set(features).isdisjoint(FEATURES)  # a rule or a question alone has no plan
        sweeps = len(sweeps_of(depth, compiles=compiles)) if planned else 0
        return OK, None, {"pairs": pairs, "sweeps": sweeps, "gradients": implementation.has_gradients(device)}

    def check_sweep(
        impl: str, files: list[str], dtypes: list[str], features: list[str], device: str, depth: str, sweep: int
    ) -> Done:
        """The cases at boundaries of one sweep of the plan."""
        from attnbench.agree.cases.plan import boundary_cases

        implementation = discover.load_implementation(impl, files)
        compiles = discover.compiles(implementation)
        cases = boundary_cases(implementation, dtypes, features, device, depth=depth, compiles=compiles, sweeps=[sweep])
        return OK, None, {"cases": cases}

    def check_boundaries(impl: str, files: list[str], cases: list[str], device: str) -> Done:
        """Some of the cases at boundaries, judged."""
        from attnbench.agree.check.boundaries import judge_case
        from attnbench.backends.bind import LastBinding

        adapter, implementation = backend(), discover.load_implementation(impl, files)
        compiles = discover.compiles(implementation)
        binding = LastBinding(adapter, implementation, device) if compiles else None
        results = [judge_case(adapter, implementation, case, device, binding).to_dict() for case in cases]
        return OK, None, {"results": results}

    def capabilities(impl: str, files: list[str], device: str) -> Done:
        """The features that an implementation declares on a device, by their names in ``Capabilities``."""
        from attnbench.backends.implementation import FEATURES

        implementation = discover.load_implementation(impl, files)
        can = implementation.capabilities_on(device)
        features = [name for name in FEATURES if getattr(can, name) and name != "gradients"]
        gradients = ["gradients"] if implementation.has_gradients(device) else []
        return OK, None, {"features": features + gradients, "limits": len(can.limits) + len(can.only)}

    plan: dict[str, Callable[..., Done]] = {"check_plan": check_plan, "check_sweep": check_sweep}
    return {**plan, "check_boundaries": check_boundaries, "capabilities": capabilities}


def check_operations(backend: Callable[[], Backend]) -> dict[str, Callable[..., Done]]:
    """The operations by their names in the protocol; ``backend`` is asked when one is called."""

    def check(impl: str, files: list[str], feature: str, dtype: str, device: str, deep: bool) -> Done:  # noqa: FBT001
        """One row of the table."""
        from attnbench.agree.check.rows import check_feature

        implementation = discover.load_implementation(impl, files)
        row = check_feature(backend(), implementation, feature, dtype, device, deep=deep)
        return OK, None, row.to_dict()

    def check_case(impl: str, files: list[str], case: str, device: str) -> Done:
        """One row for one case."""
        from attnbench.agree.cases.by_feature import CheckCase
        from attnbench.agree.cases.case_text import case_from_text
        from attnbench.agree.check.rows import check_cases_given

        implementation = discover.load_implementation(impl, files)
        row = check_cases_given(backend(), implementation, [CheckCase("case", case_from_text(case))], device)
        return OK, None, row.to_dict()

    def examine(impl: str, files: list[str], case: str, device: str, seconds: float) -> Done:
        """Kind of fault and smallest case."""
        from attnbench.agree.cases.case_text import case_from_text
        from attnbench.agree.diagnose.examine import examine

        implementation = discover.load_implementation(impl, files)
        examination = examine(backend(), implementation, case_from_text(case), device, seconds=seconds)
        return OK, None, examination.to_dict()

    def answer_case(impl: str, files: list[str], case: str, device: str, folder: str, name: str) -> Done:
        """The answer to one case, handed out unjudged, and how exact it has to be; its inputs are in the folder."""
        from attnbench.agree.cases.case_text import case_from_text
        from attnbench.agree.judge.arithmetic import precision_of
        from attnbench.backends.bind import bind, inputs_of
        from attnbench.backends.shelf import put, take

        implementation, parsed = discover.load_implementation(impl, files), case_from_text(case)
        inputs = inputs_of(parsed).with_arrays(take(Path(folder) / name))
        binding = bind(backend(), implementation, inputs, device)
        put(Path(folder) / f"answer-{name}", binding.to_numpy(binding.result()).named())
        return OK, None, {"precision": asdict(precision_of(implementation, parsed.problem.dtype, device))}

    operations: dict[str, Callable[..., Done]] = {"check": check, "check_case": check_case}
    operations |= {"answer_case": answer_case, "examine": examine}
    return {**operations, **_random_operations(backend)}


def _random_operations(backend: Callable[[], Backend]) -> dict[str, Callable[..., Done]]:
    """The operations on random cases."""

    def check_random(
        impl: str,
        files: list[str],
        dtypes: list[str],
        among: list[str],
        first: int,
        count: int,
        seed: int,
        draws: int,
        device: str,
    ) -> Done:
        """Some random cases of these dtypes, judged where they are in one of ``among``."""
        from attnbench.agree.check.random_rows import check_random

        implementation = discover.load_implementation(impl, files)
        drawn = (tuple(dtypes), first, count, seed, draws, device, tuple(among))
        return OK, None, check_random(backend(), implementation, *drawn).to_dict()

    def random_case(
        impl: str,
        files: list[str],
        dtypes: list[str],
        number: int,
        seed: int,
        draws: int,
        device: str,
    ) -> Done:
        """The text of one random case of these dtypes."""
        from attnbench.agree.check.random_rows import drawn

        implementation = discover.load_implementation(impl, files)
        return OK, None, {"case": drawn(implementation, tuple(dtypes), number, seed, draws, device)}

    return {"check_random": check_random, "random_case": random_case}


def conformance_operations(backend: Callable[[], Backend]) -> dict[str, Callable[..., Done]]:
    """The operations on what native kernels do by themselves, and on nodes of ONNX; as in ``check_operations``."""

    def semantics_plan(device: str) -> Done:
        """The native kernels of this backend on the device, and those that are not installed with what they require."""
        native = [kernel for kernel in discover.backend(backend().name).native_kernels() if device in kernel.devices]
        there = device in backend().devices()
        kernels = [kernel.name for kernel in native if kernel.available() and there]
        return (
            OK,
            None,
            {
                "kernels": kernels,
                "missing": {kernel.name: kernel.requires for kernel in native if not kernel.available()},
            },
        )

    def semantics(kernel: str, probe: str, device: str) -> Done:
        """What one native kernel does in one edge case."""
        from attnbench.agree.semantics.behaviour import find

        native = next(
            candidate for candidate in discover.backend(backend().name).native_kernels() if candidate.name == kernel
        )
        return OK, None, find(backend(), native, probe, device).to_dict()

    def onnx_plan(nodes: int, seed: int) -> Done:
        """The ONNX cases, or the random nodes, that there are: names and opsets."""
        from attnbench.agree.onnx.check import plan

        return OK, None, {"cases": plan(nodes, seed)}

    def check_onnx(impl: str, files: list[str], case: str, device: str) -> Done:
        """One ONNX Attention node."""
        from attnbench.agree.onnx.check import check_named

        implementation = discover.load_implementation(impl, files)
        return OK, None, check_named(backend(), implementation, case, device).to_dict()

    return {
        "semantics_plan": semantics_plan,
        "semantics": semantics,
        "onnx_plan": onnx_plan,
        "check_onnx": check_onnx,
    }
