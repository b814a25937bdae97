"""Workloads by name, read from ``named.toml``, where each cites its source and says what is a choice of ours."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from attnbench.workloads.grammar import items
from attnbench.workloads.mixes import Workload

LIST = "attnbench list workloads"


@cache
def named() -> Mapping[str, Workload]:
    """Every named workload, in the order of the file."""
    text = files("attnbench.workloads").joinpath("named.toml").read_text(encoding="utf-8")
    return {name: _workload(name, entry) for name, entry in tomllib.loads(text).items()}


def _workload(name: str, entry: dict[str, Any]) -> Workload:
    words = {key: entry[key] for key in ("source", "figures", "checked", "ours")}
    return Workload.of(name, items(entry["mix"]), **words)


def rows() -> list[dict[str, Any]]:
    """One row for each, for ``attnbench list workloads``."""
    return [
        {
            "workload": name,
            "mix": str(workload),
            "in words": workload.words(),
            "source": workload.source,
            "figures": workload.figures,
            "checked": workload.checked,
            "ours": workload.ours,
        }
        for name, workload in named().items()
    ]
