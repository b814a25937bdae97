"""The judge: a process that draws what kernels are audited with and judges what they answer, and never loads a kernel.

It is a worker without a framework. What it draws it keeps, until it has judged the answers. How exact an answer has to
be is the kernel's declaration, which is public: it comes as data.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.case_text import case_from_text
from attnbench.agree.judge.array import Judgement
from attnbench.agree.judge.bounds import Units
from attnbench.agree.judge.selection import SHARE, Selection, Share, choose, with_selected_cotangents
from attnbench.agree.judge.verify import judge_a_head, judge_answer
from attnbench.attention.arrays import Array
from attnbench.attention.precision import Precision
from attnbench.backends.answers import gradient_names
from attnbench.backends.bind import Inputs, inputs_of
from attnbench.backends.implementation import AttentionOutput
from attnbench.backends.shelf import ShelfError, put, take
from attnbench.errors import AttnbenchError
from attnbench.measure.audits.values import partly, renewed
from attnbench.suite import Cell
from attnbench.workers.protocol import OK, WRONG, Done

if TYPE_CHECKING:
    from attnbench.attention.problem import Case

HOT, REST = "hot", "rest"
NEW, PART = "new", "part"
# An answer that is not judged whole is judged in rows and heads of so many pairs of query and key, chosen for it alone.
SOME = Share(pairs=1 << 18, chosen_heads=8)
BRIEFLY = Share(pairs=1 << 16, chosen_heads=4)
# Its gradients are judged in one key head whole, where that has no more pairs: of the answer of a burst, and of others.
HEAD_OF_A_BURST, HEAD = 1 << 22, 1 << 20


@dataclass
class DrawnSets:
    """What was drawn for one cell: sets by name. ``selection``: the only rows with cotangents, if these are some."""

    case: Case
    seed: int
    sets: dict[str, Inputs]
    selection: Selection | None = None


class Judging:
    """The operations of a judge."""

    def __init__(self) -> None:
        self._drawn: dict[str, DrawnSets] = {}
        self._base: tuple[str, Inputs] | None = None
        # The usual answers that were found right, by their digest, and how often.
        self._right: Counter[bytes] = Counter()

    def operations(self) -> dict[str, Callable[..., Done]]:
        """By their names in the protocol."""
        return {
            operation.__name__: operation
            for operation in (self.draw, self.judge_answers, self.was_right, self.draw_case, self.judge_case)
        }

    def draw(self, cell: dict[str, Any], folder: str, seed: int, groups: int) -> Done:
        """Write ``groups`` pairs of sets: new values, and those with a part changed. What was drawn before is gone.

        With none the case's own inputs are written (``HOT``); a usual call is judged by them in any case. ``bytes`` are
        those of one set.
        """
        planned = Cell.from_dict(cell)
        if planned.case is None:
            msg = f"cell {planned.id} has no case: it is observed, not timed"
            raise AttnbenchError(msg)
        if self._base is None or self._base[0] != planned.id:
            self._base = planned.id, inputs_of(planned.case)
        base, shelf = self._base[1], Path(folder)
        fresh: dict[str, Inputs] = {}
        for group in range(groups):
            new = renewed(planned.case, base, seed + group)
            fresh |= {f"{NEW}{group}": new, f"{PART}{group}": partly(new, seed + group)}
        self._drawn = {planned.id: DrawnSets(planned.case, seed, {HOT: base} | fresh)}
        written = [put(shelf / name, inputs.arrays()) for name, inputs in (fresh or {HOT: base}).items()]
        return OK, None, {"bytes": max(written)}

    def judge_answers(
        self,
        cell_id: str,
        folder: str,
        answers: list[list[str]],
        precision: dict[str, Any],
        alike: list[str],
        brief: bool = False,  # noqa: FBT001, FBT002  (a JSON argument)
    ) -> Done:
        """Judge answers by the names of their files, each with the name of its set; the first that is wrong ends it.

        ``alike`` are files that must be the same, byte for byte. If ``brief``, answers are judged in fewer rows,
        and gradients in a whole head only where it is a small one.
        """
        if len({(Path(folder) / name).read_bytes() for name in alike}) > 1:
            return (
                WRONG,
                "its answer at rest is not the one that was copied when the call returned",
                {"set": REST},
            )
        drawn = self._drawn[cell_id]
        units = Units.of(Precision(**precision), drawn.case.problem.dtype)
        right = set[bytes]()
        for number, (file, name) in enumerate(answers):
            digest = _digest(cell_id, precision)
            try:
                answer = take(Path(folder) / file, digest)
            except ShelfError as error:
                return WRONG, f"its process did not hand out its answer: {error}", {}
            bad = next(
                (j.sentence() for j in _judged(answer, drawn, name, units, number, brief=brief) if not j.ok), None
            )
            if bad is not None:
                return WRONG, bad, {"set": name}
            right |= {digest.digest()} if name == HOT else set()
        self._right.update(right)
        return OK, None, {}

    def was_right(self, cell_id: str, folder: str, file: str, precision: dict[str, Any]) -> Done:
        """``times`` that this answer, byte for byte, was found right for this cell's usual values and this precision.

        Each time other rows and heads of it were judged.
        """
        digest = _digest(cell_id, precision)
        try:
            take(Path(folder) / file, digest)
        except ShelfError:
            return OK, None, {"times": 0}
        return OK, None, {"times": self._right[digest.digest()]}

    def draw_case(self, case: str, folder: str, name: str, seed: int) -> Done:
        """Write the inputs of one case of ``attnbench check``; rows and heads to judge are chosen by ``seed``."""
        parsed = case_from_text(case)
        inputs = inputs_of(parsed)
        selection = choose(inputs.call, seed, SHARE)
        drawn = DrawnSets(
            parsed, seed, {name: with_selected_cotangents(inputs, selection) if inputs.gradients else inputs}, selection
        )
        self._drawn = {name: drawn}
        put(Path(folder) / name, drawn.sets[name].arrays())
        return OK, None, {}

    def judge_case(self, folder: str, name: str, precision: dict[str, Any]) -> Done:
        """Judge the answer to the last case that was drawn."""
        return self.judge_answers(name, folder, [[f"answer-{name}", name]], precision, [])


def _digest(cell_id: str, precision: dict[str, Any]) -> hashlib._Hash:
    """A digest of an answer, to which its bytes are still to be given."""
    return hashlib.sha256(json.dumps([cell_id, precision], sort_keys=True).encode())


def _judged(
    answer: dict[str, Array], drawn: DrawnSets, name: str, units: Units, number: int = 0, *, brief: bool = False
) -> tuple[Judgement, ...]:
    """Hold one answer to the oracle; each, by its number, in other rows and heads."""
    inputs = drawn.sets[name]
    wanted = ["output", *inputs.call.outputs]
    wanted += [f"d_{part}" for part in gradient_names(inputs.call)] if inputs.gradients else []
    if missing := [part for part in wanted if part not in answer]:
        return (Judgement(missing[0], float("inf"), "shape", "is not in its answer"),)
    output = AttentionOutput(**{part: answer[part] for part in wanted if not part.startswith("d_")})
    grads = {part.removeprefix("d_"): array for part, array in answer.items() if part.startswith("d_")}
    if drawn.selection is not None:
        return judge_answer(output, grads, inputs, units, drawn.selection, zero_elsewhere=True)
    selection = choose(inputs.call, drawn.seed + number, BRIEFLY if brief else SOME)
    judged = judge_answer(output, grads, inputs, units, selection)
    most = HEAD_OF_A_BURST if name == HOT and not brief else HEAD
    whole = selection.is_whole(inputs.call)
    return judged if whole else judged + judge_a_head(grads, inputs, units, drawn.seed + number, most)
