"""What a case asks of an implementation, found out on a small case of the same kind, so that nothing large is drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attnbench.attention.call import Call, Sizes, prepare
from attnbench.attention.inputs import draw, drawn
from attnbench.attention.needs import with_operands

if TYPE_CHECKING:
    from attnbench.attention.problem import Case
    from attnbench.attention.spec import Needs

SMALL_T = 32  # longest sequence of a small case


def small(case: Case) -> Case:
    """A small case of the same kind: the same spec, heads, head sizes, dtype and operands."""
    p = case.problem
    return case.with_problem(B=min(p.B, 1), Tq=min(p.Tq, SMALL_T), S=min(p.S, SMALL_T))


def needs_of(case: Case, device: str = "cpu") -> Needs:
    """What a case asks: nothing large is drawn only to be refused. Features are those of a small case of its kind."""
    p, little = case.problem, small(case)
    *_, call = prepare(little.spec, draw(little.spec, little.problem, values=False), little.outputs)
    past = p.S - p.Tq if "past" in p.operands else 0
    sizes = Sizes(p.B, p.Hq, p.Hkv, p.Tq, p.S, p.D, p.Dv, past)
    whole = replace(call, sizes=sizes, offset=_offset(case, call))
    return with_operands(whole.needs(device, gradients=case.gradients), p.operands)


def _offset(case: Case, call: Call) -> Any:
    """Where the queries of the whole case stand; ``call`` is that of the small one."""
    given = drawn(case.problem, "offset").get("offset")
    if given is not None:
        return given
    return call.offset if hasattr(call.offset, "dtype") else corner(case)


def corner(case: Case) -> int:
    """Where the queries of a case stand whose offset nobody gives, by its sizes."""
    p = case.problem
    return p.S - p.Tq if case.spec.align == "bottom_right" or "past" in p.operands else 0
