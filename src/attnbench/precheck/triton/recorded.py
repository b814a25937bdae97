"""An implementation called on a GPU that is not there: its launches, compiled for one architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.case_text import case_text
from attnbench.backends import discover
from attnbench.backends.bind import bind_case
from attnbench.errors import is_refusal
from attnbench.precheck.triton.cases import GPU, launched
from attnbench.precheck.triton.launches import LaunchRecorder, call_once
from attnbench.precheck.triton.machine import compiled
from attnbench.precheck.triton.standin import standing_in

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend

REASON = 300


def machine_code(backend: Backend, impl: str, files: list[str], arch: str, dtype: str) -> dict[str, Any]:
    """Every variant of every kernel that is launched in one dtype; ``failed`` says which calls raised, and what."""
    recorder, failed, cases = LaunchRecorder(), {}, 0
    with standing_in(arch, call_once):
        implementation = discover.load_implementation(impl, files)
        claimed = implementation.capabilities_on(GPU).dtypes
        for each in launched(implementation, dtype) if dtype in claimed else ():
            text = case_text(each.case)
            binding = bind_case(backend, implementation, each.case, "cpu")
            recorder.case, cases = text, cases + 1
            with recorder.recording():
                try:
                    binding.result()
                except Exception as error:  # noqa: BLE001  (a kernel may raise anything)
                    if not is_refusal(error):
                        failed[text] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:REASON]
        variants = [variant.to_dict() for variant in compiled(recorder.launches, arch)]
    return {"claimed": list(claimed), "cases": cases, "failed": failed, "variants": variants}
