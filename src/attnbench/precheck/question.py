"""What a precheck is asked: of which implementations, for which architectures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attnbench.errors import check_known

# Ampere (A100), Hopper (H100, H200) and Blackwell (B100, B200), by NVIDIA's names for what code is compiled for.
ARCHITECTURES = ("sm_80", "sm_90", "sm_100")


@dataclass(frozen=True)
class PrecheckQuestion:
    """Names of implementations, their drop-in files as absolute paths, architectures, and seconds for one answer."""

    impls: Sequence[str]
    files: Sequence[str] = ()
    archs: Sequence[str] = ARCHITECTURES
    timeout_s: float = 300.0

    def __post_init__(self) -> None:
        check_known("architecture", self.archs, ARCHITECTURES)
