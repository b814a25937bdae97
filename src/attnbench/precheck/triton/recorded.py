"""An implementation called on a GPU that is not there: its launches, compiled for one architecture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.case_text import case_from_text, case_text
from attnbench.backends import discover
from attnbench.backends.bind import bind_case
from attnbench.errors import is_refusal
from attnbench.precheck.triton.cases import GPU, launched
from attnbench.precheck.triton.launches import LaunchRecorder, call_once
from attnbench.precheck.triton.machine import compiled
from attnbench.precheck.triton.standin import standing_in, wants_a_gpu

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend

REASON = 300


def machine_code(
    backend: Backend, impl: str, files: list[str], arch: str, dtype: str, cases: Sequence[str] | None = None
) -> dict[str, Any]:
    """Every variant of every kernel that is launched in one dtype, in ``cases`` alone where they are given.

    ``failed`` says which calls raised, and what; ``untold`` those that raised because there is no GPU.
    """
    recorder, raised = LaunchRecorder(), dict[str, dict[str, str]](failed={}, untold={})
    with standing_in(arch, call_once):
        implementation = discover.load_implementation(impl, files)
        claimed = implementation.capabilities_on(GPU).dtypes
        chosen = [case_from_text(text) for text in cases or ()]
        if cases is None and dtype in claimed:
            chosen = [each.case for each in launched(implementation, dtype)]
        for case in chosen:
            recorder.case = case_text(case)
            binding = bind_case(backend, implementation, case, "cpu")
            with recorder.recording():
                try:
                    binding.result()
                except Exception as error:  # noqa: BLE001  (a kernel may raise anything)
                    if not is_refusal(error):
                        kind = "untold" if wants_a_gpu(error) else "failed"
                        raised[kind][recorder.case] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:REASON]
        variants = [variant.to_dict() for variant in compiled(recorder.launches, arch)]
    return {"claimed": list(claimed), "cases": len(chosen), "variants": variants, **raised}
