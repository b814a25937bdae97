"""``python -m tests.precheck.loaded``: a call of triton/flash up to its launch, as it was predicted and as it is then.

Kernels are compiled by Triton's own way to a launch, and loaded by what stands in for its driver; none is executed.
"""

import json
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

from attnbench.agree.cases.case_text import case_from_text
from attnbench.backends import discover
from attnbench.precheck.grids.launching import launches_of
from attnbench.precheck.grids.running import launches_seen
from attnbench.precheck.triton import standin
from attnbench.precheck.triton.launches import call_once

IMPL, ARCH = "triton/flash", "sm_90"
CASE = "causal align=bottom_right B=1 Hq=2 Tq=64 S=128 D=64 dtype=float16 phase=forward"
REGISTERS, WORDS = 77, 2


class LoadingDriver(standin.StandInDriver):
    """A driver that loads kernels, and whose launches do nothing."""

    def __init__(self, arch: str, benchmark: Callable[..., Any]) -> None:
        super().__init__(arch, benchmark)
        self.utils.load_binary = lambda *_: (None, None, REGISTERS, WORDS, 1024)
        self.utils.unload_module = lambda _module: None

    @staticmethod
    def launcher_cls(*_: object) -> Callable[..., None]:
        """What launches a kernel."""
        return lambda *_: None


def main() -> None:
    """Print both."""
    backend, case = discover.backend("triton").load(), case_from_text(CASE).to_dict()
    predicted = launches_of(backend, IMPL, [], case, triton=True, arch=ARCH)
    with mock.patch.object(standin, "StandInDriver", LoadingDriver), standin.standing_in(ARCH, call_once):
        seen = launches_seen(backend, IMPL, [], case, "cpu")
    sys.stdout.write(json.dumps([predicted["launches"], seen["launches"]]))


if __name__ == "__main__":
    main()
