"""A case as one short line that a command line takes: what is not a default, such as ``causal B=2 Tq=33``.

``case_from_text`` is the exact inverse of ``case_text``; it takes the case as JSON (``Case.to_dict``) as well.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.errors import UsageError, not_one_of

SPEC_NAMES = tuple(f.name for f in fields(AttentionSpec))
PROBLEM_NAMES = tuple(f.name for f in fields(Problem))
LISTS = ("operands", "outputs")
NAMES = ("phase", *SPEC_NAMES, *PROBLEM_NAMES, "outputs")
# Sizes whose default is another size.
FOLLOWS = {"Hkv": "Hq", "S": "Tq", "Dv": "D", "Da": "D"}


def case_text(case: Case) -> str:
    """One line with every field that is not its default; in a shell it needs quotes."""
    problem = case.problem.to_dict()
    plain = Problem().to_dict()
    usual = plain | {name: problem[leader] for name, leader in FOLLOWS.items()}
    given = case.spec.to_dict() | {n: v for n, v in problem.items() if v != usual.get(n)}
    words = [case.phase] if case.phase != "forward" else []
    words += [name if value is True else f"{name}={_written(value, name)}" for name, value in given.items()]
    if case.outputs:
        words.append(f"outputs={','.join(case.outputs)}")
    return " ".join(words) or "forward"


def _written(value: Any, name: str) -> str:
    if name in LISTS:
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def case_from_text(text: str) -> Case:
    """The case that a line names, or JSON. Raises ``UsageError`` or ``SpecError``."""
    if text.lstrip().startswith("{"):
        return _from_json(text)
    phase, outputs = "forward", tuple[str, ...]()
    spec: dict[str, Any] = {}
    problem: dict[str, Any] = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        if not equals and name in ("forward", "backward", "decode"):
            phase = name
        elif name == "phase":
            phase = value
        elif name == "outputs":
            outputs = tuple(value.split(","))
        elif name in SPEC_NAMES:
            spec[name] = _read(value) if equals else True
        elif name in PROBLEM_NAMES:
            problem[name] = tuple(value.split(",")) if name in LISTS else _read(value)
        else:
            raise UsageError(not_one_of("--case:", name, NAMES))
    return Case(AttentionSpec.from_dict(spec), Problem.from_dict(problem), phase, outputs)


def _from_json(text: str) -> Case:
    try:
        data = json.loads(text)
    except ValueError as error:
        msg = f"--case: not JSON: {error}"
        raise UsageError(msg) from error
    return Case.from_dict(data)


def _read(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
