"""A workflow of GitHub, run here: its shell steps by bash, its actions by stand-ins, nothing over a network.

What a step is told (`RUNNER_TEMP`, `GITHUB_STEP_SUMMARY`, expressions) is as GitHub has it; an artifact is a folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")
CONTEXT = re.compile(r"\b(github|runner)((?:\.\w+)+)")


@dataclass
class Job:
    """What became of a job: its result, and the names of the steps that ran with their exit status."""

    result: str = "success"
    steps: dict[str, int] = field(default_factory=dict)
    output: str = ""


@dataclass
class Runner:
    """A repository on GitHub: its checkout, its folder of programs, and what an event says of a pull request."""

    checkout: Path
    programs: Path
    scratch: Path
    event: str = "pull_request"
    target: str = "main"
    fork: bool = False

    def __post_init__(self) -> None:
        self.scratch.mkdir(parents=True, exist_ok=True)
        (self.scratch / "temp").mkdir(exist_ok=True)

    @property
    def summary(self) -> str:
        """What stands in the summary of the last run."""
        return (self.scratch / "summary.md").read_text("utf-8")

    @property
    def context(self) -> dict[str, Any]:
        """What expressions can name."""
        head = {"repo": {"full_name": "someone/kernel" if self.fork else "owner/kernel"}}
        return {
            "github": {
                "event_name": self.event,
                "actor": "owner",
                "repository": "owner/kernel",
                "server_url": "https://github.example",
                "run_id": 7,
                "token": "secret",
                "ref": "refs/pull/3/merge",
                "event": {"pull_request": {"number": 3, "head": head}},
            },
            "runner": {"temp": str(self.scratch / "temp")},
        }

    def run(self, text: str) -> dict[str, Job]:
        """Every job in order, as it is written."""
        for left in ("summary.md", "artifact", "temp"):
            path = self.scratch / left
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        (self.scratch / "temp").mkdir()
        workflow = yaml.safe_load(text)
        assert workflow["defaults"]["run"]["shell"] == "bash"
        return {name: self._job(job) for name, job in workflow["jobs"].items()}

    def _job(self, job: Mapping[str, Any]) -> Job:
        done = Job()
        if not self._wanted(job.get("if"), done):
            return Job("skipped")
        folder = self.checkout if any("checkout" in step.get("uses", "") for step in job["steps"]) else self.scratch
        for step in job["steps"]:
            if not self._wanted(step.get("if"), done):
                continue
            if "uses" in step:
                status = self._action(step, folder)
            else:
                status = self._script(step, folder, done)
                done.steps[step["name"]] = status
            if status and not step.get("continue-on-error"):
                done.result = "failure"
        return done

    def _wanted(self, condition: str | None, job: Job) -> bool:
        """Whether a step or a job runs: after a failure only where its condition asks how it went."""
        text = EXPRESSION.sub(r"\1", condition or "success()").strip()
        succeeded = job.result == "success"
        if "cancelled()" not in text and not succeeded:
            return False
        words = {"&&": " and ", "||": " or ", "!cancelled()": "True", "success()": str(succeeded)}
        for theirs, pythons in words.items():
            text = text.replace(theirs, pythons)
        return bool(eval(CONTEXT.sub(lambda match: repr(self._value(match[0])), text)))  # noqa: S307  (our own text)

    def _value(self, name: str) -> Any:
        value: Any = self.context
        for part in name.split("."):
            value = value[part]
        return value

    def _filled(self, text: str) -> str:
        return EXPRESSION.sub(lambda match: str(self._value(match[1].strip())), text)

    def _action(self, step: Mapping[str, Any], folder: Path) -> int:
        artifact = self.scratch / "artifact"
        if "upload-artifact" in step["uses"]:
            assert step["with"]["if-no-files-found"] == "ignore"
            kept = Path(self._filled(step["with"]["path"]))
            if kept.exists():
                shutil.copytree(kept, artifact)
        elif "download-artifact" in step["uses"]:
            target = folder / step["with"]["path"]
            shutil.rmtree(target, ignore_errors=True)
            if not artifact.exists():
                return 1
            shutil.copytree(artifact, target)
        return 0

    def _script(self, step: Mapping[str, Any], folder: Path, job: Job) -> int:
        assert "${{" not in step["run"], "what others write is no part of a script: it comes by env"
        given = {name: self._filled(value) for name, value in step.get("env", {}).items()}
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(self.programs), os.environ["PATH"]]),
            "RUNNER_TEMP": str(self.scratch / "temp"),
            "GITHUB_STEP_SUMMARY": str(self.scratch / "summary.md"),
            "GITHUB_REPOSITORY": "owner/kernel",
            "GITHUB_BASE_REF": self.target if self.event == "pull_request" else "",
            **given,
        }
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        job.output += done.stdout + done.stderr
        return done.returncode
