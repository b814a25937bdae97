"""docs/implementations.md: what every announced implementation can do, from its declarations, and what a run measured.

The first part is a function of the declarations, and is written where all frameworks are installed. The second part is
made of a saved run, which it names, and stays until it is made of another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench.api.backends import BackendInfo
from attnbench.attention.precision import DTYPES
from attnbench.attention.spec import POSITIONS, SCORES
from attnbench.backends.discover import backends, load_implementation
from attnbench.backends.implementation import DEVICES, FEATURES, ONLY, Capabilities, Implementation
from attnbench.errors import UsageError
from attnbench.measure.clock.ceilings import product
from attnbench.results.read import read_cells, read_info
from attnbench.show.markdown import escaped, table
from attnbench.show.units import seconds, size
from tests.repository import DOCS

if TYPE_CHECKING:
    from attnbench.results.schema import CellResult, RunInfo

PAGE = DOCS / "implementations.md"
DECLARED, MEASURED = "declared", "measured"
YES, NO = "✓", "–"
NOT_FEATURES = ("gradients",)  # the phase ``backward`` says it
COLUMNS = tuple(name for name in FEATURES if name not in NOT_FEATURES)
OLD_PRODUCTS = {"float32": "sgemm_flop_rate", "float64": "dgemm_flop_rate"}  # as runs before schema 3 name them


def marked(name: str, body: str) -> str:
    """A part of the page between its marks."""
    return f"<!-- {name}: begin -->\n{body}<!-- {name}: end -->\n"


def filled(text: str, name: str, body: str) -> str:
    """The page with another part of this name."""
    pattern = re.compile(rf"<!-- {name}: begin -->\n.*?<!-- {name}: end -->\n", re.DOTALL)
    if not pattern.search(text):
        msg = f"{PAGE.name} has no part {name!r} between its marks"
        raise UsageError(msg)
    return pattern.sub(lambda _: marked(name, body), text)


# What is declared


def declared(names: Sequence[str] | None = None) -> str:
    """Both tables of capabilities, and the reasons for what is lacking."""
    every = [declaration(name) for name in (available() if names is None else names)]
    where = [[f"`{each.name}`", *_where(each)] for each in every]
    features = [[f"`{each.name}`", *(_feature(each, name) for name in COLUMNS)] for each in every]
    heads = ("implementation", *(f"`{name}`" for name in COLUMNS))
    return (
        "\n"
        + table(("implementation", "devices", "dtypes", "phases", "scores"), where)
        + "\n"
        + table(heads, features)
        + "\n"
        + "".join(f"- `{each.name}`: {'; '.join(notes)}.\n" for each in every if (notes := list(_notes(each))))
        + "\n"
    )


def complete() -> str:
    """What is declared by every announced implementation; an error where a framework is missing."""
    if missing := [info.why_missing() or "" for info in backends().values() if not is_readable(info)]:
        msg = f"{PAGE.name} is about every backend, and not all are here: {'; '.join(missing)}"
        raise UsageError(msg)
    return declared()


# Backends whose files of implementations import no framework.
WITHOUT_FRAMEWORK = ("cupy",)


def is_readable(info: BackendInfo) -> bool:
    """Whether what its implementations declare can be read here."""
    return info.name in WITHOUT_FRAMEWORK or info.available()


def declaration(name: str) -> Implementation:
    """An implementation, installed or not, to be read."""
    backend, _, variant = name.partition("/")
    info = backends()[backend]
    if info.available():
        return load_implementation(name)
    module = import_module(f"{info.package}.{dict(info.implementations)[variant]}")
    return next(held for held in vars(module).values() if isinstance(held, Implementation) and held.name == name)


def available() -> list[str]:
    """The implementations whose declarations can be read here."""
    return [name for info in backends().values() if is_readable(info) for name in info.names()]


def _where(each: Implementation) -> Iterator[str]:
    main = each.capabilities
    devices = [name for name in DEVICES if name in {*main.devices, *each.on}]
    yield ", ".join(devices)
    by_device = {name: ", ".join(d for d in DTYPES if d in each.capabilities_on(name).dtypes) for name in devices}
    if len(set(by_device.values())) == 1:
        yield by_device[devices[0]]
    else:
        yield "; ".join(f"{name}: {dtypes}" for name, dtypes in by_device.items())
    # One query over a cache is not as many queries as keys.
    able = {"backward": each.has_gradients(devices[0]), "decode": "square" not in main.only}
    yield ", ".join(["forward", *(phase for phase, there in able.items() if there)])
    yield "all" if set(main.scores) == set(SCORES) else ", ".join(name for name in SCORES if name in main.scores)


def _feature(each: Implementation, name: str) -> str:
    """Whether a feature is there, on which devices where that differs."""
    can = {
        device: each.capabilities_on(device) for device in DEVICES if device in {*each.capabilities.devices, *each.on}
    }
    there = [device for device, capabilities in can.items() if getattr(capabilities, name)]
    return YES if len(there) == len(can) else ", ".join(there) or NO


def _notes(each: Implementation) -> Iterator[str]:
    """What is lacking and why, each reason once; what restricts every call; limits."""
    every = {**dict.fromkeys(each.capabilities.devices[:1], each.capabilities), **each.on}
    seen: set[str] = set()
    for device, can in every.items():
        for note in _of_device(can):
            if note not in seen:
                seen.add(note)
                yield note if can is each.capabilities else f"on {device}: {note}"


def _of_device(can: Capabilities) -> Iterator[str]:
    restricted = {ONLY[name].needed for name in can.only}
    by_reason: dict[str, list[str]] = {}
    for name, reason in can.lacks.items():
        if name not in restricted:
            by_reason.setdefault(reason, []).append(f"`{name}`")
    yield from (f"no {', '.join(names)}: {escaped(reason)}" for reason, names in by_reason.items())
    for name in can.only:
        why = can.lacks.get(ONLY[name].needed)
        yield f"not {ONLY[name].what}" + (f": {escaped(why)}" if why else "")
    if set(can.alignments) != set(POSITIONS):
        yield f"queries at {', '.join(can.alignments)} alone"
    yield from (f"{limit.of} {_bounds(limit)}: {escaped(limit.reason)}" for limit in can.limits)


def _bounds(limit: object) -> str:
    words = {"at_least": "at least", "at_most": "at most", "multiple_of": "a multiple of"}
    return " and ".join(
        f"{said} {value}" for name, said in words.items() if (value := getattr(limit, name)) is not None
    )


# What a run measured


def measured(folder: Path) -> str:
    """A table of a saved run: every cell that was measured, by case."""
    info, cells = read_info(folder), read_cells(folder)
    timed = [cell for cell in cells if cell.status == "ok" and cell.kind == "timed" and cell.case is not None]
    if not timed:
        msg = f"{folder} has no timed cell that was measured; name a run such as `attnbench run smoke` makes"
        raise UsageError(msg)
    return f"\n{_about(info, timed)}\n\n" + "".join(_of_case(label, info, timed) for label in _labels(timed))


def _labels(cells: Sequence[CellResult]) -> list[str]:
    """The cases, as they were planned; alike on another device or with other threads, each by itself."""
    return list(dict.fromkeys(_label(cell) for cell in cells))


def _label(cell: CellResult) -> str:
    return f"{cell.case_label}, {cell.device}, {cell.threads} thread{'s' * (cell.threads != 1)}"


def _about(info: RunInfo, cells: Sequence[CellResult]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(info.versions.items()))
    count = len({cell.impl for cell in cells})
    return (
        f"Measured by run `{info.run_id}` on {processor(info)}"
        f": {count} implementations, {len(cells)} cells{f'; {versions}' if versions else ''}."
    )


def processor(info: RunInfo) -> str:
    """The processor that a run was measured on."""
    return escaped(info.fingerprint.hardware.cpu_model or "an unnamed processor")


def _of_case(label: str, info: RunInfo, cells: Sequence[CellResult]) -> str:
    heads = ("implementation", "time", "rate", "of products", "memory", "error ratio", "compile")
    rows = sorted((cell for cell in cells if _label(cell) == label), key=lambda cell: cell.time_median_s or 0.0)
    lines = [[f"`{cell.impl}`", *_columns(cell, info)] for cell in rows]
    return f"**{escaped(label)}**\n\n{table(heads, lines, right=heads[1:])}\n"


def _columns(cell: CellResult, info: RunInfo) -> Iterator[str]:
    yield NO if cell.time_median_s is None else seconds(cell.time_median_s)
    yield NO if cell.flop_rate is None else f"{cell.flop_rate / 1e9:.1f} GFLOP/s"
    ceiling = rate_of_products(cell, info)
    yield NO if ceiling is None or cell.flop_rate is None else f"{cell.flop_rate / ceiling:.0%}"
    yield NO if cell.peak_bytes is None else size(cell.peak_bytes)
    yield NO if cell.error_ratio is None else f"{cell.error_ratio:.2f}"
    spent = (cell.trace_s or 0.0) + (cell.compile_s or 0.0)
    yield seconds(spent) if spent else NO


def rate_of_products(cell: CellResult, info: RunInfo) -> float | None:
    """This machine's rate of matrix products in a cell's dtype; float32's for 16 bits on a CPU, which computes so."""
    names = [cell.dtype] if cell.dtype in ("float32", "float64") or cell.device != "cpu" else [cell.dtype, "float32"]
    rates = [info.ceilings.get(f"{product(name)}.{cell.device}.threads{cell.threads}") for name in names if name]
    rates += [info.ceilings.get(f"{OLD_PRODUCTS.get(name or '')}.threads{cell.threads}") for name in names]
    return max((rate for rate in rates if rate), default=None)
