"""The case of a row: values drawn of its classes, within the limits of an implementation, that say something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases import dimensions as dims
from attnbench.agree.cases.sizes import draw_sizes
from attnbench.attention.call import prepare
from attnbench.attention.inputs import draw, stream
from attnbench.attention.oracle import some_key
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.asked import needs_of
from attnbench.errors import SpecError

if TYPE_CHECKING:
    import numpy as np

    from attnbench.backends.implementation import Implementation, Limit

TRIES = 12  # values drawn of a row before it counts as out of reach
HIDE_KEYS = ("mask", "q_lengths", "kv_lengths", "segments", "offset", "past")


@dataclass(frozen=True)
class Planned:
    """A case of the plan and the levels that it stands for; with ``dead`` no query has a key, and it covers none."""

    case: Case
    row: Mapping[str, str]
    dead: bool = False


def planned(implementation: Implementation, row: Mapping[str, str], device: str, name: str) -> Planned | None:
    """A case of a row that is supported, and in which some query has a key; ``None`` where there is none.

    Values are drawn again, until the same reason speaks against them twice. They are a function of the row and of
    ``name``.
    """
    before, limits = None, implementation.capabilities_on(device).limits
    for attempt in range(TRIES):
        try:
            case = case_of(row, stream(attempt, f"boundary {name} {' '.join(row.values())}"), limits)
            reason = implementation.unsupported(needs_of(case, device))
        except SpecError:
            continue
        if reason is None and has_a_key(case):
            return Planned(case, row)
        if reason is not None and reason == before:
            break
        before = reason
    return None


def case_of(row: Mapping[str, str], rng: np.random.Generator, limits: tuple[Limit, ...] = ()) -> Case:
    """The case of a row, with values drawn of its classes. Raises ``SpecError`` where they do not go together."""
    added = [dims.FEATURES[name][level] for name, level in row.items() if name in dims.FEATURES]
    spec = {name: pick(rng, values) for addition in added for name, values in addition.spec.items()}
    sizes: dict[str, Any] = {**draw_sizes(row, rng, limits)}
    if spec.get("scale") == "per_head":
        spec["scale"] = tuple(round(float(value), 3) for value in rng.uniform(-1, 1, sizes["Hq"]))
    dtype, _, phase = row["mode"].partition(" ")
    problem = Problem(
        **sizes,
        dtype=dtype,
        seed=int(rng.integers(2**31)),
        distribution=next((addition.distribution for addition in added if addition.distribution), "normal"),
        operands=tuple(kind for addition in added for kind in addition.operands),
    )
    outputs = tuple(name for addition in added for name in addition.outputs)
    return Case(AttentionSpec(**spec), problem, phase, outputs)


def has_a_key(case: Case) -> bool:
    """Whether any query of a case has a key: without one the answer is 0 throughout, and nothing else is tried."""
    p, spec = case.problem, case.spec
    hides = [kind for kind in p.operands if kind.startswith(HIDE_KEYS) or kind == "bias_minus_inf"]
    if not (spec.causal or spec.window is not None or hides):
        return True
    # What hides keys does not depend on head sizes, and has streams of its own.
    bare = replace(spec, score="dot", scale=None, softcap=None, dropout=0.0)
    little = replace(p, Hkv=p.Hq, D=1, Dv=1, Da=1, distribution="normal", operands=tuple(hides))
    *_, call = prepare(bare, draw(bare, little, values=False))
    return some_key(call)


def pick(rng: np.random.Generator, choices: Sequence[Any]) -> Any:
    """One of them."""
    return choices[int(rng.integers(len(choices)))]
