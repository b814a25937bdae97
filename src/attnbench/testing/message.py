"""What a failing assertion says: first the fault and its smallest case, then what ``attnbench check`` says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.case_text import case_from_text
from attnbench.interface.checks.blocks import blocks
from attnbench.interface.checks.declared import explained, is_explained
from attnbench.testing.disagreement import DisagreementError

if TYPE_CHECKING:
    from attnbench.agree.check.rows import CheckRow
    from attnbench.backends.implementation import Implementation
    from attnbench.interface.agreements import Agreement

MOST_BLOCKS = 6
MOST_ANSWERS = 8  # cases that are judged under another arithmetic
TYPE = "If that is meant, type into the call of assert_agrees (with from attnbench.api import Precision): "
UNKNOWN = "unknown"
MEANT = (
    "If the function is not meant to take such a call, name what it is held to, as in features='causal,gqa', "
    "or what it is not, as in without='mask'; or raise attnbench.UnsupportedError there."
)
WHOSE = "It was given NumPy's arrays. For those of a framework, type backend='torch' or backend='jax'."
NO_CASE = "Nothing was compared, so that nothing is known of it."


def disagreement(
    name: str, checked: Agreement, implementation: Implementation, *, numpy_by_default: bool = False
) -> DisagreementError:
    """What to raise for a check that does not agree."""
    wrong = checked.wrong
    if not wrong:
        return DisagreementError("\n".join([f"{name}: {NO_CASE}", *_reasons(checked.rows), *checked.notes]))
    worst = _smallest(wrong)
    what = _what(worst)
    case = ", then ".join(worst.smallest_case or filter(None, [worst.failing]))
    lines = [f"{name} is not the attention that was asked for: {what}"]
    lines += [f"  smallest failing case: {case}"] if case else []
    lines += [f"  again: {worst.again}"] if worst.again else []
    texts = [*explained(wrong), *blocks([row for row in wrong if not is_explained(row)])]
    lines += ["", *(text.replace("in its Capabilities: ", "into the call of assert_agrees: ") for text in texts)][
        : MOST_BLOCKS + 1
    ]
    lines += [f"(and {len(texts) - MOST_BLOCKS} more)"] if len(texts) > MOST_BLOCKS else []
    lines += coarser(worst, implementation)
    compared = sum(row.first_counted for row in checked.rows if row.answer is None)
    lines += ["", f"{len(wrong)} of {len(checked.rows)} rows disagree; {compared} cases were compared."]
    exceptions = all(row.fault in ("exception", "type") for row in wrong)
    lines += [MEANT] if any(row.fault == "exception" for row in wrong) else []
    of_arrays = any(
        kind in (row.reason or "") for row in wrong for kind in ("TypeError", "AttributeError", "is a Tensor")
    )
    lines += [WHOSE] if exceptions and of_arrays and numpy_by_default else []
    return DisagreementError("\n".join(lines), case, what, worst.again or "", size_of(worst))


def coarser(row: CheckRow, implementation: Implementation) -> list[str]:
    """Which arithmetic of fewer bits would explain the values of a row that nothing else explains, and what to type.

    It is looked for in 16 bits alone: many kernels keep weights or logits in these, and not in float32 as is assumed.
    """
    from attnbench.agree.check.words import arithmetic, line
    from attnbench.agree.declare.candidates import LOW
    from attnbench.agree.judge.answered import answered
    from attnbench.agree.judge.arithmetic import precision_of
    from attnbench.backends.attend import load_backend

    every = row.disagreements or [{"case": row.failing or "", "fault": row.fault or ""}]
    wrong = [case for case in every if case["fault"] == "value"][:MOST_ANSWERS]
    unknown = row.declaration is None and (row.diagnosis or {}).get("kind", UNKNOWN) == UNKNOWN
    if row.dtype not in LOW or not unknown or row.fault != "value":
        return []
    now = precision_of(implementation, row.dtype, row.device)
    backend = load_backend(implementation.backend)
    try:
        cases = [case_from_text(case["case"]) for case in wrong]
        answers = [answered(backend, implementation, case, row.device) for case in cases]
    except Exception as error:
        if isinstance(error, MemoryError):
            raise
        return []
    for names in (("p_cast",), ("p_cast", "logits"), ("p_cast", "logits", "softmax")):
        changes: dict[str, Any] = dict.fromkeys(names, row.dtype)
        precision = replace(now, **changes)
        if all(answer.agrees(precision) for answer in answers):
            which = f"{len(wrong)} of {len(every)} cases that disagree" if len(every) > 1 else "the case that disagrees"
            said = f"{arithmetic(changes)} was tried on {which}, and would explain the values there."
            return ["", said, TYPE + line({row.dtype: [precision]})]
    return []


def size_of(row: CheckRow) -> int:
    """How much there is to look at in the smallest case of a row."""
    return sum(_numbers(case) for case in row.smallest_case or filter(None, [row.failing]))


def _smallest(wrong: Sequence[CheckRow]) -> CheckRow:
    """The row with the smallest case; one that was taken apart before one that was not."""
    return min(wrong, key=lambda row: (row.smallest_case is None, size_of(row) or float("inf")))


def _numbers(text: str) -> int:
    case = case_from_text(text)
    p = case.problem
    extras = len(p.operands) + len(case.outputs) + len(case.spec.to_dict()) + (case.phase != "forward")
    return p.B * (p.Hq * p.Tq * (p.D + p.Dv) + p.Hkv * p.S * (p.D + p.Dv)) + extras


def _what(row: CheckRow) -> str:
    diagnosis = row.diagnosis or {"kind": UNKNOWN, "evidence": ""}
    if diagnosis["kind"] == UNKNOWN:
        return row.reason or row.fault or "it disagrees"
    return diagnosis["evidence"]


def _reasons(rows: Sequence[CheckRow]) -> list[str]:
    """Why nothing was compared."""
    reasons = dict.fromkeys(row.reason for row in rows if row.reason)
    return [f"  {reason}" for reason in list(reasons)[:MOST_BLOCKS]]
