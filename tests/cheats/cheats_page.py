"""The page docs/cheats.md; ``python -m tests.docs.write cheats`` measures every cheat and writes it.

Each runs three times in fresh processes, one after the other: judged and timed in its own process alone, audited, and
the honest kernel of its framework.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from attnbench.measure.blocks.outcome import Outcome
from tests.cheats import running
from tests.cheats.cheat import Cheat
from tests.cheats.table import CHEATS, HONEST, REPORTS
from tests.repository import DOCS

PAGE = DOCS / "cheats.md"
TENFOLD = 10
EXAMPLE = "| `numpy/last` |"
INTRODUCTION = """# Cheats: the clock is itself checked

**The question.** A kernel is rewarded for a short time. What if it only *looks* fast: it remembers its last answer,
or changes the clock?

**The short answer.** It is found out. {count} kernels that please the clock without doing their work, of {kinds} kinds,
are part of the tests (`tests/cheats/`), beside {honest} honest ones that keep what they may keep. No cheat comes out
`ok` at less than 0.8 of an honest kernel's time or memory, and no honest kernel is accused.
[What is not caught](#what-is-not-caught) stands below.

**An example.** `numpy/last` keeps its last answer. Asked the same question again and again, as every benchmark asks,
it looks fast: a gain of {gain}. Asked about values that it has not seen, it takes as long as any other, and comes out
as `wrong`.

Why this matters: kernels are written by machines now, and what is rewarded is what they do. A benchmark that believes
the process in which a kernel runs measures what that process says. The page is for whoever hands out such rewards,
and for the author of a kernel who is told that it cheats. How it is done is in
[measurement.md](measurement.md#audits).

## What was tried

Everything below was measured by `python -m tests.docs.write cheats` on one machine with 2 processors, in NumPy,
PyTorch and JAX. The call is B1 H4 T128 D32 float32 (T512 where it says longer; decode: S2048 H4/2 D64).

* **gain**: the honest kernel's median time over the cheat's, where the kernel's own process judges and times it, as
  it would be without audits. So 25× means that it would have looked 25 times as fast.
* **what becomes of it**: the status with audits, and the beginning of the reason.
* **seen in public**: where such a kernel was reported.

| cheat | what it does | phase | gain | what becomes of it | seen in public |
|---|---|---|---|---|---|
"""
CLOSING = """
## What is not caught

* **Code that harms the machine**, or runs as root: it could change the run's own process. Kernels that nobody trusts
  belong into a container.
* **A wrong answer that the bound allows.** Who computes in fewer bits than declared, and stays within what rounding
  explains, has answered rightly.
* **A declaration that is too wide.** How exact an answer must be is what the file declares; the last line of `check`
  says so, and there are limits to what can be declared.
* **Some gradients of a large call.** Those of bias, sinks and parameters, and those of k and v where a head has more
  than 4 million pairs of query and key, are judged before the clock, but not under it.
* **Small gains**: below a sixth, and those of calls below about 0.2 ms that hide their work where values are moved.
  There the noise of a busy machine is as large.
* **Memory that is taken before the call**, when a file is imported or an implementation is bound: a buffer may be kept.
  What a process takes that a kernel has started, or between two resets of the mark, is sampled every 2 ms: a peak
  between two looks is missed. A kernel that is lean and slow where it is weighed, and large and fast where it is timed,
  is not seen.
* **Work shared out by luck**: who answers from memory in some bursts only gains as much as those are many.
* **On an accelerator** processor time and memory are told by the framework and the driver in the kernel's process; the
  answers and the clock outside are as on the CPU. It was not run there yet.
"""


def page() -> str:
    """Measure, and return the whole page."""
    lines = []
    with TemporaryDirectory() as folder:
        for cheat in CHEATS:
            lines.append(_line(cheat, Path(folder)))
            print(lines[-1], file=sys.stderr, flush=True)  # noqa: T201  (a program for people)
    return assembled(lines)


def assembled(lines: Sequence[str]) -> str:
    """The page around the lines of its table; the example at its top has its figure from there."""
    (example,) = (line for line in lines if line.startswith(EXAMPLE))
    counts = {"count": len(CHEATS), "kinds": len({cheat.kind for cheat in CHEATS}), "honest": len(HONEST)}
    gain = example.split("|")[4].strip()
    return INTRODUCTION.format(**counts, gain=gain) + "\n".join(lines) + "\n" + CLOSING


def _line(cheat: Cheat, folder: Path) -> str:
    bare, audited = running.run_cheat(cheat, folder, audited=False), running.run_cheat(cheat, folder)
    honest = running.honest(cheat, folder)
    gain = f"none: `{bare.status}` there too" if bare.status != "ok" else _times(bare, honest)
    became = f"`{audited.status}`" + (f": {audited.reason}" if audited.reason else "")
    if audited.status == "ok":
        became = f"`ok`, and pays: {running.seconds(audited) / running.seconds(honest):.2g} of the honest time"
        if cheat.weighs and audited.memory and honest.memory and honest.memory.peak_bytes:
            became += f", {(audited.memory.peak_bytes or 0) / honest.memory.peak_bytes:.2g} of the memory"
    what = f"{cheat.kind}: {cheat.what}"
    words = became.replace("|", "/").split(": it does not do")[0][:150]
    return f"| `{cheat.impl}` | {what} | {cheat.phase} | {gain} | {words} | {REPORTS.get(cheat.name, '')} |"


def _times(bare: Outcome, honest: Outcome) -> str:
    gain = running.seconds(honest) / running.seconds(bare)
    return f"{gain:,.0f}×" if gain >= TENFOLD else f"{gain:.1f}×"
