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
LONGEST = 150
EXAMPLE = "| `numpy/last` |"
INTRODUCTION = """# Cheats: the clock is itself checked

**The question.** A kernel is rewarded for a short time. What if it only *looks* fast: it remembers its last answer,
or changes the clock?

**The short answer.** Then it is nearly always found out. {count} kernels that please the clock without doing their
work, of {kinds} kinds, are part of the tests (`tests/cheats/`). {found} of them come out as `wrong`. The other {passed}
are `ok`, because they gain hardly anything: none takes less than 0.8 of an honest kernel's time or memory. Of
{honest} honest kernels that keep what they may keep, none is accused. [What is not caught](#what-is-not-caught) stands
below.

**An example.** `numpy/last` keeps its last answer. Asked the same question again and again, as every benchmark asks,
it looks fast: a gain of {gain}. Asked about values that it has not seen, it takes as long as any other, and comes out
as `wrong`.

Why this matters: kernels are written by machines now, and what is rewarded is what they do. A benchmark that believes
the process in which a kernel runs measures what that process says. The page is for whoever hands out such rewards,
and for the author of a kernel who is [told that it cheats](#your-kernel-is-accused). How it is done is in
[measurement.md](measurement.md#audits).

## Your kernel is accused

Read the reason of the row. Nearly always it is of one of these kinds:

* **"a call took … on the same inputs over and over, and … on values that it had not seen"**, or "on inputs of which
  one part was new". Something is kept between calls: an answer, or a part of the work.
* **"in a burst it answered otherwise than at the gate"**, "on values that it had not seen: …", "after one part of its
  inputs had changed: …". The answer was wrong, though the first one was right. An innocent cause is a cache that knows
  its inputs by their address or by a few elements, or a buffer that is used again.
* **"its process goes on computing after it has answered".** The processor is busy after the last call. Innocent causes
  are work that is put off until an answer is read, and a pool of threads that spins while it waits.
* **"the clock in its process does not tell the time".** Its own clock is slower than the one outside, as where a
  library replaces Python's clock.
* **"faster than this machine can multiply".** It takes less time than its products need, so that an answer is kept.

Then measure that row alone: the page of the run has for each cell the command that measures it again. A kernel may keep
what does not depend on values, such as what it has compiled for a shape.

## What was tried

Everything below was measured by `python -m tests.docs.write cheats` on one machine with 2 processors, in NumPy,
PyTorch and JAX. The call is B1 H4 T128 D32 float32, if nothing else is said (decode: S2048 H4/2 D64).

* **gain**: the honest kernel's median time over the cheat's, where the kernel's own process judges and times it, as
  it would be without audits. So 25× means that it would have looked 25 times as fast; below 1 it is slower than honest
  work, even so. Each is of one run on a shared machine, and no exact figure. "None" stands where the cheat was found
  even without an audit.
* **what becomes of it**: the status with audits, and the beginning of the reason; where it is `ok`, what it takes of
  the honest kernel's time and memory.
* **seen in public**: where such a kernel was reported.

| cheat | what it does | call | gain | what becomes of it | seen in public |
|---|---|---|---|---|---|
"""
CLOSING = """
## What is not caught

* **Code that harms the machine**, or runs as root: it could change the run's own process. Kernels that nobody trusts
  belong into a container.
* **A wrong answer that the bound allows.** A kernel that computes in fewer bits than declared, and stays within what
  rounding explains, has answered rightly.
* **A declaration that is too wide.** How exact an answer must be is what the file declares; the last line of `check`
  says so, and there are limits to what can be declared.
* **Some gradients of a large call.** Those of bias, sinks and parameters, and those of k and v where a head has more
  than 4 million pairs of query and key, are judged before the clock, but not under it.
* **Small gains**, where the noise of the machine is as large:

  | where | what may pass |
  |---|---|
  | anywhere | a gain below a sixth |
  | calls below a millisecond | a gain below a third |
  | calls below about 0.2 ms | work that is hidden where values are moved |
  | decoding against a long cache | a gain below threefold |
  | a machine so busy that half of the time is waited for | a gain below twofold |

* **Memory that is taken before the call**, when a file is imported or an implementation is bound: a buffer may be kept.
  What a process takes that a kernel has started, or between two resets of the mark, is sampled every 2 ms: a peak
  between two looks is missed. A kernel that is lean and slow where it is weighed, and large and fast where it is timed,
  is not seen.
* **Work shared out by luck**: a kernel that answers from memory in some bursts only gains as much as those are many.
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
    passed = sum("| `ok`" in line for line in lines)
    counts |= {"passed": passed, "found": len(lines) - passed}
    gain = example.split("|")[4].strip()
    return INTRODUCTION.format(**counts, gain=gain) + "\n".join(lines) + "\n" + CLOSING


def _line(cheat: Cheat, folder: Path) -> str:
    bare, audited = running.run_cheat(cheat, folder, audited=False), running.run_cheat(cheat, folder)
    honest = running.honest(cheat, folder)
    gain = "none" if bare.status != "ok" else _times(bare, honest)
    became = f"`{audited.status}`" + (f": {audited.reason}" if audited.reason else "")
    if audited.status == "ok":
        became = f"`ok`: takes {running.seconds(audited) / running.seconds(honest):.2g} of the honest time"
        if cheat.weighs and audited.memory and honest.memory and honest.memory.peak_bytes:
            became += f", and {(audited.memory.peak_bytes or 0) / honest.memory.peak_bytes:.2g} of its memory"
    what = f"{cheat.kind}: {cheat.what}"
    words = beginning(became.replace("|", "/").split(": it does not do")[0])
    return f"| `{cheat.impl}` | {what} | {_call(cheat.phase)} | {gain} | {words} | {REPORTS.get(cheat.name, '')} |"


def beginning(reason: str) -> str:
    """Whole words of a reason, and a mark where there is more of it."""
    return reason if len(reason) <= LONGEST else reason[:LONGEST].rpartition(" ")[0] + " …"


def _call(phase: str) -> str:
    """Such as ``forward, T512``."""
    words = phase.split()
    if "longer" not in words:
        return phase
    return f"{(words[1:] or ['forward'])[0]}, T512"


def _times(bare: Outcome, honest: Outcome) -> str:
    gain = running.seconds(honest) / running.seconds(bare)
    return f"{gain:,.0f}×" if gain >= TENFOLD else f"{gain:.1f}×"
