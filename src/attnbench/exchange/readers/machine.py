"""Which machine a file was measured on, where the file does not say it and the user does (``--machine NAME``)."""

from __future__ import annotations

from dataclasses import replace

from attnbench.errors import UsageError
from attnbench.exchange.readers.foreign import Foreign

# How a reader writes the name that stands in for a processor (``values.processor``).
STANDS_IN = "unknown, of "


def on_machine(foreign: Foreign, name: str) -> Foreign:
    """The file as one of the machine ``name``; a host's name gives way to it, a processor's stays beside it."""
    said = " ".join(name.split())
    if not said:
        msg = "--machine is empty; name the machine that measured the file, such as --machine ci-runner"
        raise UsageError(msg)
    before = foreign.fingerprint.hardware.cpu_model or STANDS_IN
    cpu = f"{STANDS_IN}machine {said}" if before.startswith(STANDS_IN) else f"{before}, machine {said}"
    kernel = foreign.fingerprint.kernel
    fingerprint = foreign.fingerprint.model_copy(
        update={
            "hardware": foreign.fingerprint.hardware.model_copy(update={"cpu_model": cpu}),
            "kernel": "unknown" if kernel.startswith(STANDS_IN) else kernel,
        }
    )
    unknown = tuple(word for word in foreign.unknown if word != "the machine")
    return replace(foreign, fingerprint=fingerprint, unknown=(*unknown, f"the machine (the import was told: {said})"))
