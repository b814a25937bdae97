"""``attnbench doctor``: the machine, the frameworks, what is missing and how to get it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attnbench import __version__
from attnbench.commands import options
from attnbench.show.console import document, say, show, table
from attnbench.versions import installed

if TYPE_CHECKING:
    from attnbench.backends.card import BackendInfo
    from attnbench.results.schema import Fingerprint

TIMEOUT_S = 120.0


def doctor(*, as_json: options.Json = False) -> None:
    """Show the machine, the frameworks, what is missing and how to get it."""
    from attnbench.backends import discover
    from attnbench.results.extra import REPORT_PACKAGES
    from attnbench.results.fingerprint import collect_fingerprint

    fingerprint = collect_fingerprint()
    backends = [_backend(name) for name in discover.backends()]
    backends += [_row(name, problem=f"cannot be loaded: {why}") for name, why in discover.broken_backends().items()]
    missing = [package for package in REPORT_PACKAGES if installed(package) is None]
    if as_json:
        machine = fingerprint.model_dump(mode="json")
        document({"attnbench": __version__, "machine": machine, "backends": backends, "missing": missing})
    else:
        _tell(fingerprint, backends, missing)


def _tell(fingerprint: Fingerprint, backends: list[dict[str, Any]], missing: list[str]) -> None:
    from attnbench.attention.spec import SPEC_VERSION

    hardware = fingerprint.hardware
    memory = f"{hardware.memory_bytes / 2**30:.1f} GiB" if hardware.memory_bytes else "unknown"
    show(f"attnbench {__version__}, spec {SPEC_VERSION}, {fingerprint.python}, {fingerprint.kernel}")
    show(f"machine {fingerprint.machine_id}: {hardware.cpu_model}, {hardware.logical_cores} logical cores, {memory}")
    show(f"CPU governor {fingerprint.governor or 'unknown'}, usable CPUs {fingerprint.usable_cpus}")
    gpus = ", ".join(gpu.name for gpu in hardware.gpus) or "none seen"
    show(f"GPUs: {gpus}\n")
    heads = ["backend", "version", "devices", "threads", "problem"]
    show(table(heads, [[str(row[head] or "") for head in heads] for row in backends]))
    show("")
    if missing:
        show(f"run, report and compare lack {', '.join(missing)}. Type: pip install 'attnbench[report]'")
    else:
        show("run, report and compare have all that they need")


def _row(name: str, **known: Any) -> dict[str, Any]:
    return {"backend": name, "version": None, "devices": None, "threads": None, "problem": None} | known


def _backend(name: str) -> dict[str, Any]:
    from attnbench.backends import discover
    from attnbench.workers.session import HELLO, ask_once

    info = discover.backend(name)
    if problem := info.why_missing():
        return _row(name, problem=problem)
    say(f"starting {name}")
    reply = ask_once(name, HELLO, timeout_s=TIMEOUT_S)
    if not reply.ok:
        return _row(name, version=info.version(), problem=reply.reason)
    names = reply.value["device_names"]
    devices = ", ".join(
        f"{device} ({names[device]})" if device in names else device for device in reply.value["devices"]
    )
    devices = devices or "none here"
    pools = ", ".join(f"{pool} {count}" for pool, count in reply.value["threads"].items())
    version = reply.value["versions"].get(info.requires)
    return _row(name, version=version, devices=devices, threads=pools, problem=_of_variants(info))


def _of_variants(info: BackendInfo) -> str | None:
    """What some implementations of a backend lack, where others can run."""
    whys: dict[str, list[str]] = {}
    for variant in info.needs:
        if why := info.why_missing(variant):
            whys.setdefault(why, []).append(f"{info.name}/{variant}")
    return "; ".join(f"{', '.join(names)}: {why}" for why, names in whys.items()) or None
