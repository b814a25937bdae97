"""The page docs/mutants.md; ``python -m tests.docs.write mutants`` measures and writes it."""
# ruff: noqa: E501  (rows of tables, and text as it stands on the page)

from __future__ import annotations

import sys

from attnbench.agree.mutants import MUTANTS
from attnbench.attention.precision import DTYPES
from tests.agree.conditional_page import measured as behind_conditions
from tests.agree.killtable import (
    BOUND,
    OURS,
    OWN,
    SHORT,
    Cell,
    columns,
    found_in_one_case,
    measure,
    rejected_controls,
)
from tests.agree.tolerances import RULES

INTRODUCTION = """# Mutants: the check is itself checked

**The question.** A test says that a kernel is right. Would it have noticed if the kernel were wrong?

**The short answer.** We planted {count} faults of {kinds} kinds, one at a time, into code that is right. Such a fault
is called a *mutant*, and a test that notices it *kills* it. `attnbench check` must find each of them in each dtype,
at its default depth: it does (`tests/agree/test_mutants.py`). The rules of other projects' tests, asked about the
same mutants, let some live.

**An example.** `ScaleOffByOne` divides by √(D + 1) and not by √D. With D = 64 that changes the scores by less than 1 %.
Yet even in bfloat16 its largest error is more than a hundred times the [bound](agreement.md#how-well-the-bounds-fit).

The page is for whoever writes tests of attention, and for whoever doubts ours.

* **Where they are planted**: plain eager attention (`attnbench.agree.eager.attention`), which without a fault passes
  every case in every dtype. Where a fault is none in a coarse dtype, the list says why.
* **Where they come from**: {reported} of the faults stand for a bug that somebody has reported; for the others no
  public report was found.
* **How it was measured**: everything below, by `python -m tests.docs.write mutants`; nothing is estimated.

## The rules that are compared

| rule | what passes | inputs | gradients |
|---|---|---|---|
| attnbench | every element within 2 E of the float64 oracle ([agreement.md](agreement.md)); shape, dtype, NaN, inputs exact | many | yes |
| `torch.testing.assert_close` | its defaults: rtol 1.3e-6 and atol 1e-5 in float32, 1.6e-2 and 1e-5 in bfloat16, 1e-3 and 1e-5 in float16, 1e-7 in float64 | N(0,1) | yes |
| PyTorch SDPA tests | `get_tolerances`: the largest absolute and the largest relative deviation of eager attention in the input's dtype, at least 1e-3 and 1.6e-2 (bfloat16), 1e-3 (float16), 1e-5 and 1.3e-6 (float32); its fudge factors left at 1 | U[0,1) | yes |
| ONNX node tests | rtol 1e-3 (2⁻⁶ in bfloat16), atol 1e-7 | U[0,1) | no |
| FlashAttention tests | largest error at most twice that of eager attention in the input's dtype, plus 1e-5 | N(0,1) | yes |
| JAX tests | rtol = atol = 0.01 | N(0,1) | yes |

**How to read the tables.** A rule kills a mutant when it rejects it in a case where it accepts the correct code. Each
rule has two rows:

* with **its own inputs**, which are the shapes and features of `attnbench check --deep` with all values drawn as that
  project draws them, nothing poisoned;
* with the **cases of `check --deep`** as they are.

Other projects test far fewer shapes and features than that, so these rows flatter their rules: a fault that escapes
in nine cases is found in the tenth. One table shows the rules alone, in one plain case. In float64 there is no
lower-precision reference; there the two rules that need one compare with eager attention in float64.
"""

SUMMARY = """
## Killed, of those that are a fault in the dtype

| rule | inputs | {dtypes} |
|---|---|{rule}|
"""

ONE_CASE = """
## One plain case, by its output alone

B 2, H 3, T 33, S 65, D 16, Dv 8, no mask, forward: how many of the mutants that attnbench finds in this very case a rule
finds too. The rest of the {count} need a feature, a shape or a gradient that one case cannot have.

| rule | inputs | {dtypes} |
|---|---|{rule}|
"""

CONTROLS = """
## Correct code rejected

The same rules on the correct control: in how many cases it is rejected. A rule that rejects correct code is loosened or
its test skipped, so those cases cannot count as kills above.

| rule | inputs | {dtypes} |
|---|---|{rule}|
"""

SURVIVORS = """
## Survivors

The dtypes in which a mutant passes a rule on the rule's own inputs; an empty cell is a kill in all of them. Mutants that
every rule finds everywhere are left out. What needs an extreme value, a zero row or a NaN outside the allowed set
survives any rule without them; an input that was written to is seen by no comparison of outputs.

| mutant | {rules} |
|---|{rule}|
"""

LIST = """
## The mutants

| mutant | kind | what is wrong | seen in |
|---|---|---|---|
"""

HARMLESS = """
## No fault in a coarse dtype

| mutant | dtype | why |
|---|---|---|
"""


def catalogue() -> str:
    """The list of mutants with what they stand for, and where they are none."""
    lines = [LIST.rstrip("\n")]
    for mutant in MUTANTS.values():
        seen = "no public report found"
        if mutant.report is not None:
            seen = f"[{mutant.report.project} #{mutant.report.number}]({mutant.report.url}): {mutant.report.says}"
        lines.append(f"| {mutant.name} | {mutant.kind} | {mutant.description} | {seen} |".replace("|s|", "s"))
    lines.append(HARMLESS.rstrip("\n"))
    lines += [
        f"| {mutant.name} | {dtype} | {why} |" for mutant in MUTANTS.values() for dtype, why in mutant.harmless.items()
    ]
    return "\n".join(lines) + "\n"


def _inputs(rule: str, inputs: str) -> str:
    names = {"normal": "N(0,1) alone", "uniform": "U[0,1) alone", OURS: OURS}
    if inputs == OWN:
        return next(
            "N(0,1)" if known_rule.distribution == "normal" else "U[0,1)"
            for known_rule in RULES
            if known_rule.name == rule
        )
    return names[inputs]


def summary(kills: dict[Cell, set[str]]) -> str:
    """Kills by rule, inputs and dtype."""
    head = SUMMARY.format(dtypes=" | ".join(DTYPES), rule="---|" * (len(DTYPES) - 1) + "---")
    lines = [head.rstrip("\n")]
    for rule, inputs in columns():
        cells = []
        for dtype in DTYPES:
            applicable = sum(mutant.applies(dtype) for mutant in MUTANTS.values())
            cells.append(f"{len(kills[rule, inputs, dtype])} / {applicable}")
        lines.append(f"| {rule} | {_inputs(rule, inputs)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def one_case() -> str:
    """Kills in one plain case, and who escapes there."""
    head = ONE_CASE.format(count=len(MUTANTS), dtypes=" | ".join(DTYPES), rule="---|" * (len(DTYPES) - 1) + "---")
    lines, escaped = [head.rstrip("\n")], ["", "Who escapes there:", ""]
    for rule in RULES:
        cells, who = [], []
        for dtype in DTYPES:
            bound = found_in_one_case(None, dtype, rule.distribution)
            missed = sorted(bound - found_in_one_case(rule, dtype, rule.distribution))
            cells.append(f"{len(bound) - len(missed)} / {len(bound)}")
            who.append(f"{dtype}: {', '.join(missed) or 'nobody'}")
        lines.append(f"| {rule.name} | {_inputs(rule.name, OWN)} | " + " | ".join(cells) + " |")
        escaped.append(f"- {rule.name}: {'; '.join(who)}.")
    return "\n".join(lines + escaped) + "\n"


def controls() -> str:
    """False alarms by rule, inputs and dtype."""
    head = CONTROLS.format(dtypes=" | ".join(DTYPES), rule="---|" * (len(DTYPES) - 1) + "---")
    lines = [head.rstrip("\n")]
    lines.append(f"| {BOUND} | {OURS} | " + " | ".join(rejected_controls(None, dtype, OURS) for dtype in DTYPES) + " |")
    for rule in RULES:
        for inputs in (OWN, OURS):
            cells = " | ".join(rejected_controls(rule, dtype, inputs) for dtype in DTYPES)
            lines.append(f"| {rule.name} | {_inputs(rule.name, inputs)} | {cells} |")
    return "\n".join(lines) + "\n"


def survivors(kills: dict[Cell, set[str]]) -> str:
    """Who survives which rule on the rule's own inputs, by dtype."""
    head = SURVIVORS.format(rules=" | ".join(rule.name for rule in RULES), rule="---|" * (len(RULES) - 1) + "---")
    lines = [head.rstrip("\n")]
    for mutant in MUTANTS.values():
        cells = [
            " ".join(SHORT[d] for d in DTYPES if mutant.applies(d) and mutant.name not in kills[rule.name, OWN, d])
            for rule in RULES
        ]
        if any(cells):
            lines.append(f"| {mutant.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def listed(page: str) -> str:
    """The page with its list of mutants anew; what was measured stays as it is."""
    return page[: page.index("\n## The mutants\n")] + catalogue()


def introduction() -> str:
    """What stands before the tables."""
    return INTRODUCTION.format(
        count=len(MUTANTS),
        kinds=len({mutant.kind for mutant in MUTANTS.values()}),
        reported=sum(mutant.report is not None for mutant in MUTANTS.values()),
    )


def page() -> str:
    """Measure, and return the whole page."""
    kills = measure(lambda text: sys.stderr.write(f"{text} done\n"))
    measured = summary(kills) + survivors(kills) + one_case() + controls()
    return introduction() + measured + behind_conditions() + catalogue()
