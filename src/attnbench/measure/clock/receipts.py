"""Receipts: what else the machine did during a burst, and the limits, fixed beforehand, above which it is repeated.

Read from /proc, so Linux only; elsewhere a receipt has fewer fields and limits nothing. All times are seconds.
``steal_s`` comes in clock ticks (10 ms), so one tick alone says nothing about a burst of 30 ms and is forgiven.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from attnbench.measure.clock.gpu import throttled

STEAL_FIELD = 8
FREQUENCY = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
ZONES = Path("/sys/class/thermal")
DELAY = "delay_s"
TASKS = Path("/proc/self/task")
TICK_S = 1.0 / (os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100)


@dataclass(frozen=True)
class Limits:
    """Fractions of a burst's wall time above which it counts as disturbed.

    ``steal``: time that the hypervisor gave to others; ``delay``: time that a thread of the process was ready to run
    and did not, of the thread that it hit most. A GPU whose clock is held down by heat or a hardware brake is
    always disturbed. PSI, switches, load and frequency are recorded and limit nothing: on a machine with idle
    processors they move without touching the burst.
    """

    steal: float = 0.10
    delay: float = 0.05


def snapshot() -> dict[str, float]:
    """Counters that only grow, as far as this system tells them."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    counters = {"involuntary_switches": float(usage.ru_nivcsw), "page_faults": float(usage.ru_minflt + usage.ru_majflt)}
    with suppress(OSError, ValueError, IndexError):
        counters["steal_s"] = int(_first_line("/proc/stat").split()[STEAL_FIELD]) * TICK_S
    with suppress(OSError, ValueError, IndexError):
        counters["pressure_s"] = int(_first_line("/proc/pressure/cpu").rpartition("total=")[2]) / 1e6
    return counters | _delays()


def receipt(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """What happened between two snapshots, with the load and the frequency at the end."""
    grown = {name: after[name] - before[name] for name in before if name in after and not name.startswith(DELAY)}
    # Threads come and go; one that began meanwhile began at 0. A framework's pool computes, and the main thread waits.
    waits = [value - before.get(name, 0.0) for name, value in after.items() if name.startswith(DELAY)]
    if waits:
        grown[DELAY] = max(waits)
    with suppress(OSError, AttributeError):
        grown["load_1min"] = os.getloadavg()[0]
    with suppress(OSError, ValueError):
        grown["frequency_hz"] = float(FREQUENCY.read_text()) * 1000
    with suppress(OSError, ValueError):
        temperatures = [int(zone.read_text()) / 1000 for zone in ZONES.glob("thermal_zone*/temp")]
        grown |= {"temperature_c": max(temperatures)} if temperatures else {}
    return grown


def disturbance(noted: dict[str, float], wall_s: float, limits: Limits) -> str | None:
    """Why a burst is to be measured again, or ``None``; looks at the receipt alone, never at the result."""
    if (held := throttled(noted)) is not None:
        return held
    stolen = max(0.0, noted.get("steal_s", 0.0) - TICK_S)
    if stolen > limits.steal * wall_s:
        return f"steal {stolen / wall_s:.0%}"
    delay = max((seconds for name, seconds in noted.items() if name.startswith(DELAY)), default=0.0)
    return f"run delay {delay / wall_s:.0%}" if delay > limits.delay * wall_s else None


def _delays() -> dict[str, float]:
    """Seconds that each thread of this process has waited for a processor, by ``delay_s.<thread id>``."""
    delays = {}
    with suppress(OSError):
        for task in TASKS.iterdir():
            with suppress(OSError, ValueError, IndexError):
                delays[f"{DELAY}.{task.name}"] = int(_first_line(str(task / "schedstat")).split()[1]) / 1e9
    return delays


def _first_line(path: str) -> str:
    with Path(path).open() as file:
        return file.readline()
