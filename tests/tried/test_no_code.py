"""A record is no code: to keep one makes neither saved answers nor the workers of a plan out of date."""

from __future__ import annotations

import subprocess

from attnbench.answers import since
from attnbench.dispatch.held import _contents
from attnbench.tried.keeping import keep
from attnbench.tried.record import GpuRecord
from tests.tried.planted import Planted
from tests.tried.test_marks import RAN


def test_a_record_is_none_of_the_code_that_answers_and_plans_are_held_to(planted: Planted) -> None:
    commit = ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "-m", "a commit"]
    subprocess.run(["git", "-C", str(planted.folder), *commit], check=True)
    before = _contents([str(planted.folder)], "planted")
    keep({"planted/mine": lambda _: GpuRecord(None, (RAN,))})
    subprocess.run(["git", "-C", str(planted.folder), "add", "."], check=True)
    assert since._same.__wrapped__("HEAD", str(planted.folder)) is True
    assert _contents([str(planted.folder)], "planted") == before
    planted.change("shared.py", "ONE = 1", "ONE = 2")
    assert since._same.__wrapped__("HEAD", str(planted.folder)) is False
    assert _contents([str(planted.folder)], "planted") != before
