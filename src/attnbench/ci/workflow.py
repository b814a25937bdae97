"""The workflow of GitHub. What goes to a shell is quoted for one; what YAML alone reads is JSON, which is YAML too."""

from __future__ import annotations

import json
import math
import re
import shlex
from importlib.resources import files
from pathlib import PurePosixPath
from string import Template

from attnbench.ci.kernel import KernelCi

FILE = PurePosixPath(".github/workflows/attnbench.yml")
# Beside the budget of the comparison: to install, and to check every feature.
BESIDES_MIN = 30


class YamlTemplate(Template):
    """Its placeholders are like nothing in YAML, in a shell or in an expression of GitHub: ``@@{name}``."""

    delimiter = "@@"


def workflow(kernel: KernelCi) -> str:
    """The text of the workflow."""
    installs = [word for text in kernel.installs for word in shlex.split(text)]
    return YamlTemplate(files("attnbench.ci").joinpath("workflow.yml").read_text("utf-8")).substitute(
        base=kernel.base,
        base_in_yaml=json.dumps(as_filter(kernel.base), ensure_ascii=False),
        python=kernel.python,
        minutes=BESIDES_MIN + math.ceil(kernel.budget_s / 60),
        installed=shlex.join([kernel.requirement, *installs]),
        check_words=shlex.join(kernel.check_words),
        ab_files=shlex.join(kernel.file_words),
        ab_options=shlex.join(kernel.ab_options),
        files=shlex.join(kernel.files),
        impls=shlex.join(kernel.impls),
    )


def as_filter(branch: str) -> str:
    """The pattern of GitHub that this branch alone matches: git allows ``+`` and ``!``, which mean something there."""
    return re.sub(r"\+|^!", r"\\\g<0>", branch)
