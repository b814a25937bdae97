"""The cases of a function that has a spec built in: those of the plan, with that spec; and what it refused of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.by_feature import check_cases
from attnbench.agree.cases.case_text import case_from_text, case_text
from attnbench.agree.cases.features import features_of
from attnbench.agree.cases.making import has_a_key
from attnbench.agree.cases.plan import boundary_cases
from attnbench.backends import discover
from attnbench.backends.asked import needs_of
from attnbench.backends.fitted import fitted, offered
from attnbench.errors import SpecError

if TYPE_CHECKING:
    from attnbench.agree.check.rows import CheckRow
    from attnbench.attention.problem import Case
    from attnbench.backends.implementation import Implementation
    from attnbench.interface.agreements import Agreement
    from attnbench.testing.saying import Saying


def cases_of(implementation: Implementation, said: Saying, dtypes: Sequence[str], depth: str) -> list[str]:
    """The cases of the plan as texts, each with the spec that is built in; none twice, and none without a key."""
    chosen: dict[str, None] = {}
    for case in _plan(implementation, dtypes, said.device, depth):
        about = set(features_of(case))
        if said.features and about.isdisjoint((*said.features, *said.spec)):
            continue
        if not about.isdisjoint(said.without):
            continue
        if (changed := _with(case, said.spec, implementation, said.device)) is not None:
            chosen[case_text(changed)] = None
    return list(chosen)


def with_refusals(checked: Agreement, cases: Sequence[str], features: Sequence[str]) -> Agreement:
    """What was found, where a refusal is wrong: of a case by its name, of every case of a feature, or of most cases.

    ``features`` are those that the function is held to; none where the cases were given by name.
    """
    refused = [place for place, row in enumerate(checked.rows) if row.status == "unsupported"]
    about = [set(features_of(case_from_text(text))) for text in cases[: len(checked.rows)]]
    why = dict.fromkeys(refused, "the case was named") if not features else {}
    for name in features:
        places = [place for place, has in enumerate(about) if name in has]
        if places and set(places) <= set(refused):
            why[places[0]] = f"it takes none of the {len(places)} cases of {name}"
    if features and 2 * len(refused) > len(checked.rows):
        why[refused[0]] = f"it takes only {len(checked.rows) - len(refused)} of {len(checked.rows)} cases"
    rows = [_refused(row, why[place]) if place in why else row for place, row in enumerate(checked.rows)]
    return replace(checked, rows=tuple(rows))


def _refused(row: CheckRow, why: str) -> CheckRow:
    return replace(row, status="wrong", fault="declaration", reason=f"{why}, and was refused: {row.reason}")


def _plan(implementation: Implementation, dtypes: Sequence[str], device: str, depth: str) -> Iterator[Case]:
    can = implementation.capabilities_on(device)
    for dtype in dtypes:
        for check_case in check_cases(dtype, deep=depth == "deep"):
            yield fitted(offered(check_case.case, implementation, device), can, check_case.feature)
    compiles = discover.compiles(implementation)
    for text in boundary_cases(implementation, dtypes, (), device, depth=depth, compiles=compiles):
        yield case_from_text(text)


def _with(case: Case, fixed: Mapping[str, Any], implementation: Implementation, device: str) -> Case | None:
    """The case with the words that are built in, or ``None`` where it is no case of theirs."""
    changes = dict(fixed)
    p = case.problem
    if p.Tq != p.S and "align" not in changes and (changes.get("causal") or changes.get("window")):
        changes["align"] = case.spec.align or "bottom_right"
    try:
        changed = replace(case, spec=replace(case.spec, **changes))
        supported = implementation.unsupported(needs_of(changed, device)) is None
        return changed if supported and has_a_key(changed) else None
    except SpecError:
        return None
