"""What makes two trials alike: one machine, the same rules, the same code measured. Others do not count together."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from attnbench.comparing import many
from attnbench.comparing.sequential import CONFIRM, REPORTED, SAME, SCREEN, Rules
from attnbench.comparing.signed_rank import SHARE
from attnbench.live.pair import PairedEffort
from attnbench.results.fingerprint import collect_hardware
from attnbench.scoreboard import attention
from attnbench.scoreboard.live.ours import MARGIN
from attnbench.workers import placement

DIGITS = 12
# Cells on which the rule is asked what it says, so that a change of its code is seen that no constant shows.
ASKED, SEED = 120, 4


@dataclass(frozen=True)
class Conditions:
    """The machine, and a hash of everything by which a verdict came about."""

    machine_id: str
    rules: str

    def to_dict(self) -> dict[str, str]:
        """For a row of a journal."""
        return asdict(self)

    def hold_for(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of a journal was measured under these."""
        return all(row.get(name) == value for name, value in self.to_dict().items())


def here(rules: str) -> Conditions:
    """These rules on this machine."""
    return Conditions(collect_hardware().id, rules)


def hashed(*parts: Any) -> str:
    """A short name of JSON-ready values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:DIGITS]


@lru_cache(maxsize=16)
def own_rules(cells: int, *, memory: bool = True) -> str:
    """A hash of all that decides a verdict of ours: its rules, what they say of fixed numbers, how pairs are made."""
    rules = Rules(margin=MARGIN, cells=cells)
    effort = PairedEffort() if memory else PairedEffort(memory_repeats=0)
    stages = [[stage.pairs, stage.shares] for stage in (SCREEN, CONFIRM, SAME)]
    return hashed(SHARE, stages, REPORTED, asdict(rules), asdict(effort), _functions(placement), _said(rules), work())


def _said(rules: Rules) -> list[list[float]]:
    """Verdicts on made-up pairs, when they stood, and their intervals."""
    rng = np.random.default_rng(SEED)
    sizes = rng.random((ASKED, many.MOST)) ** 3 * 0.2 * rng.choice((-1.0, 1.0), (ASKED, many.MOST))
    pairs = sizes + np.linspace(-0.02, 0.12, ASKED)[:, None]
    judged = many.judge(pairs, rules)
    ends = [np.clip(end, -1, 1).round(DIGITS // 2) for end in many.reported(pairs, judged, np.full(ASKED, many.MOST))]
    return [column.tolist() for column in (judged.verdict, judged.decided_at, judged.screened, *ends)]


def work() -> str:
    """A hash of the code that is measured."""
    return _code(attention)


def _code(module: Any) -> str:
    """A module without its comments and docstrings, which change nothing."""
    return hashed(ast.dump(_bare(module)))


def _functions(module: Any) -> str:
    """A module's code without its imports too: where the things that it uses are kept changes nothing either."""
    tree = _bare(module)
    tree.body = [statement for statement in tree.body if not isinstance(statement, ast.Import | ast.ImportFrom)]
    return hashed(ast.dump(tree))


def _bare(module: Any) -> ast.Module:
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant("")
    return tree
