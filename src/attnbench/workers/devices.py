"""Which devices each framework has here: asked of one worker for each framework, before anything is planned on them.

Without this a suite for an accelerator would start a worker for each of its blocks, on a machine that has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from attnbench.backends import discover
from attnbench.errors import device_not_there
from attnbench.suite import Cell
from attnbench.workers.protocol import Hello, value
from attnbench.workers.session import HELLO, ask_once

HELLO_TIMEOUT_S = 120.0
ALWAYS = "cpu"


def lacking(cells: Iterable[Cell]) -> dict[str, str]:
    """Why cells on a device that their framework does not have cannot be measured here, by id.

    A framework that does not answer refuses nothing: what is the matter with it shows when its cells are measured.
    """
    elsewhere = [cell for cell in cells if cell.device != ALWAYS]
    known = {backend: devices_of(backend) for backend in dict.fromkeys(cell.backend for cell in elsewhere)}
    refused = {}
    for cell in elsewhere:
        there = known[cell.backend]
        if there is not None and cell.device not in there:
            refused[cell.id] = device_not_there(cell.device, cell.backend, there)
    return refused


def nowhere(device: str, backends: Iterable[str]) -> str | None:
    """Why nothing can be asked of any of these frameworks on the device; ``None`` where one has it or does not tell."""
    devices = {}
    for backend in dict.fromkeys(backends):
        if discover.backend(backend).why_missing():
            continue
        there = devices_of(backend)
        if there is None or device in there:
            return None
        devices[backend] = ", ".join(there) or "none here"
    have = "; ".join(f"{backend} has {there}" for backend, there in devices.items()) or "no framework is installed"
    return f"device {device} is not there, so that nothing is checked on it: {have}"


@cache
def devices_of(backend: str) -> tuple[str, ...] | None:
    """The devices that a framework has in a process of its own; ``None`` where it does not tell."""
    reply = ask_once(backend, HELLO, timeout_s=HELLO_TIMEOUT_S)
    return tuple(value(Hello, reply).devices) if reply.ok else None
