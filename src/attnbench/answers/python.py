"""``ab.best``: the question of ``attnbench best`` asked from Python, in the same words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attnbench.answers.answer import Answer
from attnbench.answers.question import question
from attnbench.errors import UsageError
from attnbench.keywords import explained
from attnbench.results.extra import check_report_extra
from attnbench.results.read import Runs


@explained
def best(
    shape: str,
    tokens: int | str,
    *,
    phase: str = "prefill",
    dtype: str = "float32",
    batch: int | str = 1,
    device: str = "cpu",
    threads: int | None = None,
    memory: int | str | None = None,
    needs: Sequence[str] = (),
    runs: Runs | None = None,
    measure: float | None = None,
    impl: Sequence[str] = (),
    files: Sequence[str | Path] = (),
    out: str | Path = "results",
) -> Answer:
    """The fastest implementation for one case that agrees and fits, from saved runs of this machine, or measured now.

    ``runs`` are all in ``results/`` unless some are named. ``measure`` is seconds: the case is then measured now, and
    kept as a run in ``out``; ``impl`` are names or patterns of those that are measured, ``files`` drop-in files.
    ``needs`` are features by their names in ``Capabilities``. Raises ``UsageError`` and its kin.
    """
    check_report_extra("attnbench.best")
    needed = (needs,) if isinstance(needs, str) else tuple(needs)
    wanted = question(
        shape,
        tokens,
        batch=batch,
        phase=phase,
        dtype=dtype,
        device=device,
        threads=threads,
        needs=needed,
        memory=memory,
    )
    if measure is None:
        if impl:
            msg = "impl= says who is measured now: give measure=300 (seconds) with it, or leave it out"
            raise UsageError(msg)
        from attnbench.answers.best import answered

        return answered(wanted, runs, files=files)
    if runs is not None:
        msg = "give runs= or measure=: what is measured now is a run of its own, and not mixed with others"
        raise UsageError(msg)
    from attnbench.answers.measuring import HowMeasured, measured_now

    patterns = (impl,) if isinstance(impl, str) else tuple(impl)
    how = HowMeasured(measure, Path(out), patterns, [Path(file) for file in files], command=("attnbench.best",))
    return measured_now(wanted, how)
