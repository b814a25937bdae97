"""``python -P -m attnbench.dispatch.cluster.about FILE``: what this worker is, as JSON, for the question in a file."""

from __future__ import annotations

import os
import platform
import sys
from importlib.util import find_spec
from pathlib import Path

from attnbench.attention.spec import stable_id
from attnbench.dispatch.cluster.environment import LABELS, labels_typed
from attnbench.dispatch.cluster.messages import AskedOfWorker, WorkerAbout, decoded
from attnbench.dispatch.held import code_digest, versions_in
from attnbench.dispatch.needs import labels
from attnbench.dispatch.records import DispatchPlan, Labels
from attnbench.dispatch.sending import check_there
from attnbench.errors import AttnbenchError, UsageError
from attnbench.results.fingerprint import collect_fingerprint, processors
from attnbench.workers.limits import free_memory
from attnbench.workers.lock import default_path

BOOT = Path("/proc/sys/kernel/random/boot_id")


def about(question: AskedOfWorker, folder: Path) -> WorkerAbout:
    """What this machine is, and what it lacks of what the plan asks for. Raises ``UsageError`` for a bad label."""
    fingerprint = collect_fingerprint()
    return WorkerAbout(
        held=versions_in(fingerprint, code_digest()),
        machine=machine(),
        lock=str(default_path().resolve()),
        labels=labels_here(),
        processors=processors(),
        memory_bytes=free_memory(),
        gpus=tuple(gpu.name for gpu in fingerprint.hardware.gpus),
        missing=tuple(name for name in question.packages if find_spec(name) is None),
        files=_files(question.plan, folder),
    )


def labels_here() -> Labels:
    """The labels in ``ATTNBENCH_LABELS``. Raises ``UsageError`` for what is none."""
    try:
        return labels(labels_typed(os.environ)).get("", {})
    except UsageError as error:
        msg = f"{LABELS} of this worker: {str(error).removeprefix('--label ')}"
        raise UsageError(msg) from error


def machine() -> str:
    """The computer: whatever was started since it last booted, containers too, stands on the same."""
    try:
        since = BOOT.read_text(encoding="ascii").strip()
    except OSError:
        since = platform.node()
    return stable_id(["machine", since])


def _files(plan: DispatchPlan, folder: Path) -> str:
    """What is wrong with the files that do not travel; empty where nothing is."""
    staying = tuple(file for file in plan.files if file.sent is None)
    try:
        check_there(folder, plan.model_copy(update={"files": staying}))
    except UsageError as error:
        return str(error)
    return ""


def main(arguments: list[str]) -> int:
    """Answer on standard output; what is wrong is a line on standard error, and the exit status."""
    file = Path(arguments[0])
    try:
        answer = about(decoded(file.read_text("utf-8"), AskedOfWorker, "the front"), file.parent)
    except AttnbenchError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(answer.model_dump_json())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
