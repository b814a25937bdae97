"""docs/implementations.md, its third part: where ours are slower than another, and by the roofline, why.

From a saved run with ceilings. What a call takes is split by them: the time that its products take at the rate of
plain products, that of its exponentials at the rate of plain ones, and the rest, which is neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench.errors import UsageError
from attnbench.measure.clock.ceilings import EXP
from attnbench.results.read import read_cells, read_info
from attnbench.show.markdown import escaped, table
from attnbench.show.units import seconds
from tests.docs.implementations_page import NO, processor, rate_of_products

if TYPE_CHECKING:
    from attnbench.results.schema import CellResult, RunInfo

PART = "slower"
OURS = ("numpy/blocked", "jax/blocked", "torch/blocked")
SLOWER = 1.05  # less is not told apart in two processes each
HEADS = (
    "case", "ours", "time", "fastest other", "its time", "ratio",
    "products", "exponentials", "rest of ours", "rest of the other",
)  # fmt: skip


def behind(folder: Path) -> str:
    """Every case of a run where one of ours takes longer than the fastest of the others, and where ours are ahead."""
    info, cells = read_info(folder), read_cells(folder)
    timed = [cell for cell in cells if cell.status == "ok" and cell.kind == "timed" and cell.time_median_s]
    blocks = [rows for rows in _blocks(timed).values() if _others(rows)]
    lines = [line for rows in blocks for line in _lines(rows, info)]
    if not blocks:
        msg = f"{folder} has no case that was measured of ours ({', '.join(OURS)}) and of others; name such a run"
        raise UsageError(msg)
    return (
        f"\nBy run `{info.run_id}` on {processor(info)}, {len(blocks)} cases.\n\n"
        f"{table(HEADS, lines, right=(HEADS[2], *HEADS[4:]))}\n{_ahead(blocks)}\n"
    )


def _blocks(cells: Sequence[CellResult]) -> dict[str, list[CellResult]]:
    by_block: dict[str, list[CellResult]] = {}
    for cell in sorted(cells, key=lambda cell: cell.time_median_s or 0.0):
        by_block.setdefault(cell.block_id, []).append(cell)
    return {block: by_block[block] for block in dict.fromkeys(cell.block_id for cell in cells)}


def _others(rows: Sequence[CellResult]) -> list[CellResult]:
    """The others of a block, the fastest first; none where none of ours was measured."""
    return [cell for cell in rows if cell.impl not in OURS] if any(cell.impl in OURS for cell in rows) else []


def _ratio(ours: CellResult, other: CellResult) -> float:
    return (ours.time_median_s or 0.0) / (other.time_median_s or 1.0)


def _lines(rows: Sequence[CellResult], info: RunInfo) -> Iterator[list[str]]:
    other = _others(rows)[0]
    for ours in (cell for cell in rows if cell.impl in OURS and _ratio(cell, other) >= SLOWER):
        products, exponentials = _least(ours, info)
        yield [
            escaped(name(ours)),
            f"`{ours.impl}`",
            seconds(ours.time_median_s or 0.0),
            f"`{other.impl}`",
            seconds(other.time_median_s or 0.0),
            f"{_ratio(ours, other):.2f}",
            *(NO if part is None else seconds(part) for part in (products, exponentials)),
            *(_rest(cell, products, exponentials) for cell in (ours, other)),
        ]


def _least(cell: CellResult, info: RunInfo) -> tuple[float | None, float | None]:
    """Seconds that the products and the exponentials of a case take by themselves, at this machine's rates."""
    rate = rate_of_products(cell, info)
    exp = info.ceilings.get(f"{EXP}.{cell.device}.threads{cell.threads}")
    products = cell.flops / rate if cell.flops and rate else None
    return products, cell.exponentials / exp if cell.exponentials and exp else None


def _rest(cell: CellResult, *parts: float | None) -> str:
    """What a call takes beside these parts, as its share; below zero where they overlap, or beat the ceilings."""
    time = cell.time_median_s or 0.0
    return NO if None in parts or not time else f"{1 - sum(part or 0.0 for part in parts) / time:.0%}"


def name(cell: CellResult) -> str:
    """A case as a reader of a catalogue names it."""
    shape, tokens = cell.point.get("shape"), cell.point.get("tokens")
    return cell.case_label if shape is None else f"{shape}, {cell.point.get('phase', cell.phase)}, {tokens} tokens"


def _ahead(blocks: Sequence[Sequence[CellResult]]) -> str:
    """Where one of ours is not behind the fastest of the others."""
    there = [
        f"{escaped(name(cell))}: `{cell.impl}` ({_ratio(cell, _others(rows)[0]):.2f} × `{_others(rows)[0].impl}`)"
        for rows in blocks
        for cell in rows
        if cell.impl in OURS and _ratio(cell, _others(rows)[0]) < SLOWER
    ]
    return f"Not slower (below {SLOWER} times): {'; '.join(there)}." if there else "Slower everywhere."
