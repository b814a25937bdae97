"""Drawing a mutant with a condition, and the witness that its fault can be seen at all.

A fault of grouped heads that is planted behind "only where a group has one head" never shows: no check could find it,
and a count that has it among the mutants that were missed would be wrong. So a mutant counts with its condition only
where it has a witness: a case, made from the condition and from the features that show the mutant alone, in which the
planted fault lies beyond the bound. A mutant with its condition is called a pair for short.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from attnbench.agree.cases.case_text import case_text
from attnbench.agree.judge.selection import Selection
from attnbench.agree.mutants.catalogue import MUTANTS, Mutant
from attnbench.agree.mutants.conditional.conditions import CONDITIONS
from attnbench.agree.mutants.conditional.known import fault, known
from attnbench.agree.mutants.conditional.moments import Condition, Moment
from attnbench.agree.mutants.conditional.mutants import Conditional
from attnbench.agree.mutants.conditional.recipes import placed, recipes
from attnbench.attention.problem import Case
from attnbench.backends.bind import Inputs, inputs_of
from attnbench.errors import AttnbenchError, SpecError

WHOLE = 1 << 19  # B·Hq·Tq·S up to which every row of a witness is judged
MOST = 1 << 25
SEEDS = 100
EDGE = 48
KEEPS = ("state", "input")
BACKWARD_KINDS = ("gradient", "broadcast gradient")
FORWARD_KINDS = ("lse", "noise", "dtype", "type", "layout", "nan")
NOT_BY_KEY = (*KEEPS, *FORWARD_KINDS, "dead row")
NOT_IN_PART = ("state", "type", "dtype")


@dataclass(frozen=True)
class ConditionedMutant:
    """A mutant behind a condition, in short a pair; ``witness`` shows it, and is ``None`` where none was found."""

    mutant: Mutant
    condition: Condition
    witness: Case | None = None

    def planted(self) -> Conditional:
        """A fresh one."""
        return Conditional(self.mutant, self.condition)

    def sentence(self) -> str:
        """One line: the mutant, its condition with the numbers, and the witness as ``--case`` takes it."""
        shown = "no witness" if self.witness is None else f'--case "{case_text(self.witness)}"'
        return f"{self.mutant.name} | {self.condition.text} | {shown}"


def draw_pair(rng: np.random.Generator) -> ConditionedMutant:
    """A condition of a random class with a mutant that it can concern, and a witness if there is one."""
    kind = str(rng.choice(list(CONDITIONS)))
    condition = CONDITIONS[kind](rng)
    able = [candidate for candidate in MUTANTS.values() if _concerns(condition, candidate)]
    mutant = able[int(rng.integers(len(able)))]
    return ConditionedMutant(mutant, condition, witness(mutant, condition))


def draw_witnessed(rng: np.random.Generator) -> tuple[ConditionedMutant, list[ConditionedMutant]]:
    """A pair that counts, and those drawn before it that do not."""
    unseen: list[ConditionedMutant] = []
    while (pair := draw_pair(rng)).witness is None:
        unseen.append(pair)
    return pair, unseen


def _concerns(condition: Condition, mutant: Mutant) -> bool:
    """Whether a condition can concern a mutant, by its kind: not where the fault could never show, or always does.

    Of the pairs that remain the witness decides.
    """
    if condition.keys is not None:
        return mutant.kind not in NOT_BY_KEY
    if condition.part is not None:
        return mutant.kind not in NOT_IN_PART
    if "gradient" in condition.kind:
        return mutant.kind not in FORWARD_KINDS
    if condition.kind == "only the forward":
        return mutant.kind not in BACKWARD_KINDS
    return condition.text.removeprefix("beside ") not in mutant.telling


def witness(mutant: Mutant, condition: Condition) -> Case | None:
    """A case that shows the fault behind this condition, or ``None``."""
    for recipe in recipes(mutant):
        case = _prepared(recipe, condition)
        if case is not None and mutant.applies(case.problem.dtype):
            case = _where_it_holds(case, condition)
            for candidate in _phases(case, mutant, condition) if case is not None else ():
                if shows(mutant, condition, candidate):
                    return candidate
    return None


def _phases(case: Case, mutant: Mutant, condition: Condition) -> tuple[Case, ...]:
    """A large case forward first, where the fault can show there: its backward pass is dear."""
    if _pairs(case) <= WHOLE or "gradient" in condition.kind or mutant.kind in BACKWARD_KINDS:
        return (case,)
    return replace(case, phase="forward"), case


def shows(mutant: Mutant, condition: Condition, case: Case) -> bool:
    """Whether the planted fault lies beyond the bound in this case, after the calls that must come before."""
    planted, twice = Conditional(mutant, condition), mutant.kind in KEEPS
    inputs = inputs_of(case)
    for _ in range(condition.before):
        planted.note(replace(inputs.call.sizes, Tq=inputs.call.sizes.Tq + 1))
    try:
        if twice:
            fault(known(case.with_problem(seed=case.problem.seed + 1)), planted)
        return fault(known(case, _selection(inputs), inputs), planted, twice=twice) is not None
    except AttnbenchError:  # the sound code is wrong as well: the case shows nothing
        return False


def _selection(inputs: Inputs) -> Selection | None:
    """All of a small case; of a large one the first rows, the last, and some between."""
    s = inputs.call.sizes
    if s.B * s.Hq * s.Tq * s.S <= WHOLE:
        return Selection(np.arange(s.Tq), tuple(np.ndindex(s.B, s.Hq)))
    between = np.linspace(0, s.Tq - 1, EDGE).astype(int)
    rows = {*range(min(8, s.Tq)), *range(max(0, s.Tq - EDGE), s.Tq), *between.tolist()}
    return Selection(np.array(sorted(rows)), tuple(np.ndindex(s.B, s.Hq)))


def _where_it_holds(case: Case, condition: Condition) -> Case | None:
    """The case with the first seed with which the condition holds."""
    for seed in range(SEEDS if _pairs(case) <= WHOLE else 1):
        seeded = case.with_problem(seed=seed)
        try:
            call = inputs_of(seeded).call
        except SpecError:
            return None
        last = replace(call.sizes, Tq=call.sizes.Tq + 1)
        if any(condition.holds(Moment(call, backward, condition.before, last)) for backward in (False, True)):
            return seeded
    return None


def _prepared(recipe: Case, condition: Condition) -> Case | None:
    """A recipe in which the condition can hold, made consistent; ``None`` where that cannot be, or is too large.

    The queries are placed again, and a scale for each head is given to all the heads that there are now.
    """
    try:
        case = condition.fit(recipe)
    except SpecError:  # such as fewer keys than queries beside a cache
        return None
    case = placed(_small_enough(case))
    if isinstance(case.spec.scale, tuple):
        scale = tuple((-1) ** h * 0.5 / (1 + h % 3) for h in range(case.problem.Hq))
        case = replace(case, spec=replace(case.spec, scale=scale))
    return case if _pairs(case) <= MOST else None


def _pairs(case: Case) -> int:
    p = case.problem
    return p.B * p.Hq * p.Tq * p.S


def _small_enough(case: Case) -> Case:
    """A large case cut down to one batch entry and two groups of heads; whether the condition holds is asked later."""
    p = case.problem
    if _pairs(case) * (p.Da if case.spec.score in ("additive", "concat") else 1) <= MOST // 4:
        return case
    return case.with_problem(B=1, Hq=2 * p.Hq // p.Hkv, Hkv=2)
