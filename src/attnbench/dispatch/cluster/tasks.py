"""What a Dask worker is asked to do: a text in, a text out. It measures nothing itself, it waits for a program.

Dask sends these functions by their names, and the texts are JSON: nothing of ours is pickled. Whatever goes wrong is
an answer and no exception, which Dask would have to pickle.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Callable
from pathlib import Path

from attnbench.dispatch.blocks import write_blocks
from attnbench.dispatch.cluster.child import UnwantedError, run
from attnbench.dispatch.cluster.environment import allowed, labels_typed
from attnbench.dispatch.cluster.messages import AskedOfWorker, BlockTask, WorkerAbout, WorkerAnswer, decoded
from attnbench.dispatch.folder import FILES, PLAN, RESULTS, as_text, results_of
from attnbench.errors import EXIT_INCONCLUSIVE, EXIT_UNFORESEEN, AttnbenchError
from attnbench.workers.scratch import Scratch, sweep

SCRATCH = "attnbench-worker-"
PYTHON = (sys.executable, "-P", "-m")


def about(text: str) -> str:
    """What this worker is: an ``AskedOfWorker`` in, a ``WorkerAnswer`` with a ``WorkerAbout`` out."""
    try:
        decoded(text, AskedOfWorker, "the front")
        return _answered(lambda folder: _about(text, folder))
    except AttnbenchError as error:
        return _as_answer(error.exit_code, str(error))


def block(text: str) -> str:
    """One block, measured: a ``BlockTask`` in, a ``WorkerAnswer`` with the text of its result out."""
    try:
        task = decoded(text, BlockTask, "the front")
        return _answered(lambda folder: _block(task, folder))
    except AttnbenchError as error:
        return _as_answer(error.exit_code, str(error))


def wanted() -> bool:
    """Whether somebody still waits for the task of this thread, and its worker is not about to end."""
    from distributed import Status, get_worker

    try:
        worker = get_worker()
    except ValueError:  # nobody's worker, as in a test
        return True
    task = worker.state.tasks.get(worker.get_current_task())
    ending = worker.status not in (Status.running, Status.paused, Status.closing_gracefully)
    return not ending and task is not None and task.state not in ("cancelled", "resumed")


def _answered(work: Callable[[Path], str]) -> str:
    """What the work answers, in a folder of its own that is gone afterwards."""
    sweep(SCRATCH)  # of workers that were killed
    scratch = Scratch(SCRATCH, Path.cwd())
    try:
        return work(scratch.path)
    except UnwantedError:
        return _as_answer(EXIT_INCONCLUSIVE, "nobody waits for it any more")
    except Exception as error:  # noqa: BLE001  (an exception would cross as a pickle)
        return _as_answer(EXIT_UNFORESEEN, f"{type(error).__name__}: {error}")
    finally:
        scratch.remove()


def _as_answer(exit_code: int, said: str, text: str | None = None) -> str:
    return WorkerAnswer(exit_code=exit_code, said=said, text=text).model_dump_json()


def _about(text: str, folder: Path) -> str:
    file = folder / "asked.json"
    file.write_text(text, encoding="utf-8")
    command = [*PYTHON, "attnbench.dispatch.cluster.about", str(file)]
    status, out, said = run(command, folder, allowed(os.environ), wanted)
    if status != 0:
        return _as_answer(status, said)
    answer = decoded(out, WorkerAbout, "the program").model_copy(update={"profiler": _profiler()})
    return _as_answer(0, "", answer.model_dump_json())


def _profiler() -> bool:
    """Whether Dask samples what this worker does, which wakes it up beside a measurement."""
    import dask

    return bool(dask.config.get("distributed.worker.profile.enabled", default=True))


def _block(task: BlockTask, folder: Path) -> str:
    """A plan of this one block in a folder, and the program that measures it there."""
    plan = folder / "plan"
    for name in (RESULTS, FILES):
        (plan / name).mkdir(parents=True)
    for inside, data in task.files.items():
        (plan / inside).parent.mkdir(exist_ok=True)
        (plan / inside).write_bytes(base64.b64decode(data, validate=True))
    of_one = task.plan.model_copy(update={"blocks": 1, "cells": len(task.block.cells)})
    write_blocks(plan, of_one, [task.block.model_copy(update={"number": 0})], [0])
    (plan / PLAN).write_text(as_text(of_one), encoding="utf-8")
    words = ["dispatch", "work", str(plan), "--block", task.block.id, "--quiet"]
    words += [word for label in labels_typed(os.environ) for word in ("--label", label)]
    words += ["--wait", task.wait] if task.wait else []
    status, _, said = run([*PYTHON, "attnbench", *words], folder, allowed(os.environ), wanted)
    results = results_of(plan, task.block.id)
    return _as_answer(status, said, results[0].path.read_text("utf-8") if results else None)
