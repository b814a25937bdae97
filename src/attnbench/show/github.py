"""GitHub's workflow commands: lines in the log of a job that become annotations."""

from __future__ import annotations

from typing import Literal

Level = Literal["error", "warning", "notice"]


def annotation(level: Level, title: str, text: str) -> str:
    """The command that annotates a step. GitHub shows the first ten of each level."""
    return f"::{level} title={_escaped(title).replace(':', '%3A').replace(',', '%2C')}::{_escaped(text)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
