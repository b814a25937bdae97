"""The roofline of a GPU by its name: what its data sheet leaves a case at least, on a machine without one."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from attnbench.errors import UsageError, check_known
from attnbench.measure.clock import ceilings
from attnbench.measure.clock.roofline import least_by, work

if TYPE_CHECKING:
    from attnbench.attention.problem import Case

# Special functions that a multiprocessor does in one clock.
SPECIAL = 16
DTYPES = ("float16", "bfloat16", "float32", "float64")
# Boards with faster memory than the one of devices.toml, by a word of their names: H100 NVL has 3.9 TB/s.
FASTER = {"H100": "NVL"}
LIMITS = {"product": "products", "copy": "memory", "exp": "exponentials"}


@dataclass(frozen=True)
class NamedDevice:
    """A GPU as its data sheet has it: peaks by dtype, bytes and multiprocessors; ``source`` says where that stands."""

    name: str
    model: str
    arch: str
    multiprocessors: int
    bandwidth: float
    source: str
    peaks: Mapping[str, float]
    clock_hz: float | None = None

    def rates(self) -> dict[str, float]:
        """By the names of the ceilings that a roofline is made of."""
        products = {ceilings.product(dtype): peak for dtype, peak in self.peaks.items()}
        special = {} if self.clock_hz is None else {ceilings.EXP: self.multiprocessors * SPECIAL * self.clock_hz}
        return products | {ceilings.COPY: self.bandwidth} | special

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "peaks": dict(self.peaks)}


@cache
def devices() -> dict[str, NamedDevice]:
    """Those of devices.toml, by name."""
    read = tomllib.loads((files("attnbench.measure.clock") / "devices.toml").read_text("utf-8"))
    return {name: _device(name, dict(values)) for name, values in read.items()}


def _device(name: str, values: dict[str, Any]) -> NamedDevice:
    peaks = {dtype: float(values.pop(dtype)) for dtype in DTYPES}
    return NamedDevice(name, **values, peaks=peaks)


def named_device(name: str) -> NamedDevice:
    """The device of this name, in capitals or not. Raises ``UsageError`` with those that there are."""
    known = {each.lower(): each for each in devices()}
    if name.lower() not in known:
        check_known("device", [name], tuple(devices()))
        msg = f"no device {name!r}; there are {', '.join(devices())}"
        raise UsageError(msg)
    return devices()[known[name.lower()]]


def device_of(model: str) -> NamedDevice | None:
    """The device that a GPU is by the name that its driver gives it, such as ``NVIDIA H100 80GB HBM3``.

    Slower boards of the same name (PCIe, 40 GB) count as the one that is known: a floor of it is a floor of theirs. Of
    one whose memory is faster than that of the one that is known nothing is: ``None``.
    """
    words = re.findall(r"[A-Za-z0-9]+", model.upper())
    known = [name for name in devices() if name in words and FASTER.get(name) not in words]
    return devices()[known[0]] if known else None


@dataclass(frozen=True)
class Foretold:
    """What one case needs at least, and the seconds that a device's peaks leave it; ``limit`` is what bounds it."""

    case_id: str
    label: str
    device: str
    flops: float
    min_bytes: float
    exponentials: float
    least_s: float
    limit: str
    intensity: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def foretold(cases: Iterable[tuple[str, Case]], device: NamedDevice) -> list[Foretold]:
    """A row for each case, in their order; the text beside a case says what it asks."""
    rows = []
    for label, case in cases:
        done = work(case)
        least = least_by(done, case.problem.dtype, device.rates())
        limit = max(least, key=lambda name: least[name])
        per_byte = done.flops / done.min_bytes if done.min_bytes else 0.0
        numbers = (done.flops, done.min_bytes, done.exponentials, least[limit], LIMITS[limit], per_byte)
        rows.append(Foretold(case.id, label, device.name, *numbers))
    return rows
