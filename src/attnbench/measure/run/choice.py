"""What a suite measures where the user names nothing: which implementations, which not and why, and what it lacks here.

An implementation is left out by its suite (``Suite.leaves_out``, ``Suite.implementations``), or because its backend's
card says that it runs on none of the devices that are asked about. Nothing is left out in silence: a run says it before
it measures, keeps it, and its report shows it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from attnbench.backends import discover
from attnbench.suite import Cell, Suite
from attnbench.workers import gpus


@dataclass(frozen=True)
class Omission:
    """Implementations that a suite does not measure unless they are named, and the reason that they share."""

    suite: str
    implementations: tuple[str, ...]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def measured_by(
    suite: Suite, known: Sequence[str], dropped: Collection[str], devices: Sequence[str]
) -> tuple[tuple[str, ...], tuple[Omission, ...]]:
    """What a suite measures of what is known where the user names nothing, and what it leaves out.

    Drop-ins (``dropped``) are chosen by being there.
    """
    whys = {name: None if name in dropped else _why_left_out(suite, name, devices) for name in known}
    by_reason: dict[str, list[str]] = {}
    for name, why in whys.items():
        if why is not None:
            by_reason.setdefault(why, []).append(name)
    left_out = tuple(Omission(suite.name, tuple(names), why) for why, names in by_reason.items())
    return tuple(name for name, why in whys.items() if why is None), left_out


def _why_left_out(suite: Suite, impl: str, devices: Sequence[str]) -> str | None:
    runs_on = devices_of(impl)
    if runs_on and not set(runs_on) & set(devices):
        return f"runs on {', '.join(runs_on)} alone, and this is measured on {', '.join(devices)}"
    return suite.why_left_out(impl)


def devices_of(impl: str) -> tuple[str, ...]:
    """The devices that an announced implementation runs on, by its backend's card; empty where nothing is said."""
    backend, _, variant = impl.partition("/")
    card = discover.backends().get(backend)
    return card.devices.get(variant, ()) if card is not None else ()


def reasons(left_out: Iterable[Omission]) -> list[str]:
    """Each reason in a line, with the implementations that share it."""
    return [f"{', '.join(group.implementations)}: {group.reason}" for group in left_out]


def sentences(left_out: Iterable[Omission]) -> list[str]:
    """What was left out, why, and what to type to have it measured; suites that leave out the same share the lines."""
    by_suite: dict[str, list[Omission]] = {}
    for group in left_out:
        by_suite.setdefault(group.suite, []).append(group)
    alike: dict[tuple[str, ...], list[str]] = {}
    for suite, groups in by_suite.items():
        alike.setdefault(tuple(reasons(groups)), []).append(suite)
    lines = []
    for texts, suites in alike.items():
        count = sum(len(group.implementations) for group in by_suite[suites[0]])
        verb = "leaves" if len(suites) == 1 else "leave"
        what = "implementation" if count == 1 else "implementations"
        lines.append(
            f"{', '.join(suites)} {verb} out {count} {what}; --impl NAME measures one all the same, --impl '*' all:"
        )
        lines += [f"  {text}" for text in texts]
    return lines


def lacking_of(suite: Suite) -> str | None:
    """Why nothing of a suite can be measured here, whatever is chosen of it; ``None`` where something can.

    It needs a module that is not installed, or none of the implementations that it measures is available on a device
    that it is about. Imports no framework; where a GPU is in sight, the frameworks are asked for it.
    """
    if (why := suite.why_lacking()) is not None:
        return why
    names, left_out = measured_by(suite, discover.implementation_names(), (), suite.devices)
    whys = [_why_unavailable(name, suite.devices) for name in names]
    if None in whys:
        return None
    elsewhere = [] if names else [group.reason for group in left_out]
    return "; ".join(dict.fromkeys(filter(None, (*whys, *elsewhere))))


def _why_unavailable(impl: str, devices: Sequence[str]) -> str | None:
    """Why an implementation cannot be measured here on any of the devices."""
    name, _, variant = impl.partition("/")
    card = discover.backends()[name]
    missing = card.why_missing(variant)
    # Where there is no GPU to ask for, what is not installed would not help.
    nowhere = gpus.why_nowhere(card.name, devices) if missing is None or not gpus.gpu_in_sight() else None
    return nowhere or missing


def unmet(suites: Iterable[Suite], cells: Iterable[Cell]) -> dict[str, str]:
    """Why cells of a suite that lacks a module cannot be measured, by id."""
    lacking: Mapping[str, str] = {suite.name: why for suite in suites if (why := suite.why_lacking())}
    return {cell.id: lacking[cell.suite] for cell in cells if cell.suite in lacking}
