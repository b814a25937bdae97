"""The table of ``tiles.py``."""

from __future__ import annotations

# Queries and keys of a tile, warps, stages; by the columns that hold D and Dv.
Row = dict[int, tuple[int, int, int, int]]
PLAIN: dict[tuple[int, str, str], Row] = {}
RICH: dict[tuple[int, str, str], Row] = {}
