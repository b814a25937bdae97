"""Which variables reach a measuring process: a list of those that may, so that nothing of Dask's does.

A Dask worker has ``OMP_NUM_THREADS=1`` and its kin in its environment, and its own settings besides. A process that
inherited them would measure another thing than a local run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from attnbench.dispatch.work import OF_SCHEDULERS

PASSED = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PYTHONPATH",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    *OF_SCHEDULERS,
)
BEGINNINGS = ("ATTNBENCH_", "CUDA_", "LC_", "NVIDIA_")
LABELS = "ATTNBENCH_LABELS"


def allowed(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that may pass."""
    return {name: value for name, value in environment.items() if name in PASSED or name.startswith(BEGINNINGS)}


def labels_typed(environment: Mapping[str, str]) -> list[str]:
    """The labels of a worker, from its variable ``ATTNBENCH_LABELS``: ``gpu=h100,exclusive=yes``."""
    return [text for text in re.split(r"[,\s]+", environment.get(LABELS, "")) if text]
