"""docs/commands.md: every command with its arguments and options, from the program itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from attnbench.commands import app
from attnbench.show.markdown import code, escaped, table
from tests.repository import DOCS

PAGE = DOCS / "commands.md"
HEAD = """# Command line

Every command of `attnbench` with what can be typed behind it. `attnbench COMMAND --help` (or `-h`) says the same in a
terminal. What exit statuses mean, how a budget is spent and what `--json` prints: [Interface](interface.md).

This page is written by `python -m tests.docs.write commands`, from the program.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, "\n", _summary(), *(part for name in app.COMMANDS for part in _sections(name, app.command(name), 2))]
    return "".join(parts)


def _summary() -> str:
    rows = [(f"[`{name}`](#attnbench-{name})", escaped(_first(app.command(name)))) for name in app.COMMANDS]
    return table(("command", "does"), rows)


def _first(command: Any) -> str:
    """The first sentence of a command's help."""
    return str(command.help or "").strip().partition("\n\n")[0]


def _sections(path: str, command: Any, level: int) -> Iterator[str]:
    """A command; then those below it."""
    yield f"\n{'#' * level} attnbench {path}\n\n"
    yield f"{escaped(' '.join(str(command.help or '').split()))}\n\n"
    yield f"```text\n{usage(path, command)}\n```\n\n"
    rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
    if rows:
        yield table(("to type", "what it is", "without it"), rows)
    for name, below in getattr(command, "commands", {}).items():
        yield from _sections(f"{path} {name}", below, level + 1)


def usage(path: str, command: Any) -> str:
    """How a command is typed."""
    if hasattr(command, "commands"):
        below = f"{{{'|'.join(command.commands)}}}"
        words = [f"[{below}]" if getattr(command, "invoke_without_command", False) else below]
    else:
        words = [_argument(parameter) for parameter in command.params if not _is_option(parameter)]
    options = ["[OPTIONS]"] if any(map(_is_option, command.params)) else []
    return " ".join(["attnbench", path, *options, *words])


def _is_option(parameter: Any) -> bool:
    return str(parameter.opts[0]).startswith("-")


def _argument(parameter: Any) -> str:
    word = re.sub(r"[][]", "", parameter.metavar or parameter.name.upper())
    word = word if word.endswith("...") or parameter.nargs == 1 else f"{word}..."
    return word if parameter.required else f"[{word}]"


def _row(parameter: Any) -> tuple[str, str, str]:
    if not _is_option(parameter):
        return code(_argument(parameter)), escaped(parameter.help or ""), _without(parameter)
    word = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.upper().replace('_', '-')}"
    typed = ", ".join(code(f"{spelling}{word}") for spelling in (*parameter.opts, *parameter.secondary_opts))
    return typed, escaped(parameter.help or ""), _without(parameter)


def _without(parameter: Any) -> str:
    """What holds where it is not typed."""
    if parameter.required:
        return "it is needed"
    default = parameter.default
    return "" if default is None or default is False or default == () or callable(default) else code(str(default))
