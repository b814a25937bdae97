"""Under which conditions a run was made, in a few words: machine, noise, date, versions, what became of its cells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attnbench.results.fingerprint import machine_name
from attnbench.results.schema import Fingerprint, RunInfo
from attnbench.show import units

if TYPE_CHECKING:
    import pandas as pd

# The name of a measured rate, such as ``float32_flop_rate.cpu.threads2``; what it is a rate of, and its unit.
RATE = re.compile(r"(\w+?)_(flop|bytes|)_?rate\.(.+)\.threads(\d+)")
AMOUNTS = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))


def conditions(info: RunInfo, frame: pd.DataFrame) -> dict[str, str]:
    """Pairs of label and text; what is not known is left out."""
    facts = {
        "Machine": machine_name(info.fingerprint),
        "Noise": _noise(frame, watched=info.imported is None),
        "Date": info.started.replace("T", " ").replace("Z", " UTC"),
        "Versions": _versions(info.fingerprint),
    }
    return {label: text for label, text in facts.items() if text}


def _noise(frame: pd.DataFrame, *, watched: bool) -> str:
    """The usual width of an interval; where bursts were watched, how many cells had some that were measured again."""
    ok = frame[(frame["kind"] == "timed") & (frame["status"] == "ok")]
    if ok.empty:
        return ""
    widths = ((ok["time_high_s"] - ok["time_low_s"]) / 2 / ok["time_median_s"]).dropna()
    parts = [f"half of the times are known to ±{widths.median():.1%} or better"] if len(widths) else []
    if not watched:
        return "; ".join([*parts, "not known whether the machine was busy with something else"])
    disturbed = int((ok["disturbed_bursts"] > 0).sum())
    parts.append(f"{disturbed} of {len(ok)} cells had disturbed bursts, measured again")
    replicates = ok["n_replicates"].dropna()
    if len(replicates):
        least, most = int(replicates.min()), int(replicates.max())
        count = str(least) if least == most else f"{least} to {most}"
        parts.append(f"{count} process{'es' * (most > 1)} for each cell")
    return "; ".join(parts)


def _versions(fingerprint: Fingerprint) -> str:
    """The version of each framework that measured, and of Python."""
    known = {
        name: version
        for versions in fingerprint.frameworks.values()
        for name, version in versions.items()
        if name in fingerprint.packages
    }
    return ", ".join([*(f"{name} {units.number(version)}" for name, version in known.items()), fingerprint.python])


def rates(info: RunInfo) -> dict[str, str]:
    """How fast a machine is, as it was measured beside the cells: matrix products, copies and evaluations of exp."""
    return dict(_rate(name, value) for name, value in info.ceilings.items())


def _rate(name: str, value: float) -> tuple[str, str]:
    size, amount = next((pair for pair in AMOUNTS if value >= pair[0]), (1.0, ""))
    number = f"{units.significant(value / size)} {amount}".strip()
    parts = RATE.fullmatch(name)
    if parts is None:
        return f"{name.replace('_', ' ')}, measured", number
    what, kind, device, threads = parts.groups()
    said = {"flop": f"{what} matrix products", "bytes": "copies in memory"}.get(kind, f"evaluations of {what}")
    unit = {"flop": "operations in a second", "bytes": "bytes read and written in a second"}.get(kind, "in a second")
    return f"{said}, measured ({device}, {threads} thread{'s' * (threads != '1')})", f"{number} {unit}"
