"""The program ``attnbench``: its commands, each imported from its file when it is used, and what becomes of an error.

A command and its signature stand in ``attnbench.commands``, one file each, the options in ``commands/options.py``.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from attnbench.commands import options
from attnbench.errors import EXIT_INCONCLUSIVE, EXIT_USAGE, AttnbenchError
from attnbench.show.console import complain, document

# The commands' files in the order of --help. Each holds a function, or a ``typer.Typer`` of several, of its own name;
# Python's own words have an underscore behind them.
FILES = (
    "list_",
    "check",
    "explain",
    "precheck",
    "run",
    "dispatch",
    "best",
    "report",
    "compare",
    "export",
    "import_",
    "ab",
    "crossover",
    "calibrate",
    "plan",
    "history",
    "semantics",
    "doctor",
    "baseline",
    "scoreboard",
    "init_ci",
)
COMMANDS = {file.rstrip("_").replace("_", "-"): file for file in FILES}


class Commands(TyperGroup):
    """The commands, whose files are imported when they are asked for: one to run it, all to list them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of --help."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One command; an unknown name brings all of them, so that the nearest can be suggested."""
        for name in [cmd_name] if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                self.commands[name] = command(name)
        return super().get_command(ctx, cmd_name)


def command(name: str) -> Any:
    """A command, imported from its file and made for the command line."""
    function = getattr(import_module(f"attnbench.commands.{COMMANDS[name]}"), COMMANDS[name])
    holder = typer.Typer(rich_markup_mode=None)
    if isinstance(function, typer.Typer):
        holder.add_typer(function, name=name)
    else:
        holder.command(name)(function)
    return typer.main.get_group(holder).commands[name]


app = typer.Typer(
    name="attnbench",
    cls=Commands,
    help="Benchmarks and ablations of attention across NumPy, PyTorch and JAX, with agreement checked first.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def common(*, version: options.Version = False) -> None:
    """Benchmarks and ablations of attention across NumPy, PyTorch and JAX, with agreement checked first."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status; an error of ours, or a fault of ours, is one clear line."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        app(given, prog_name="attnbench")
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else int(bool(done.code))
        if code == EXIT_USAGE and "--json" in given:
            document({"error": "wrong usage; see standard error", "exit_code": code})
        return code
    except AttnbenchError as error:
        return _failed(str(error), error.exit_code, as_json="--json" in given)
    except KeyboardInterrupt:
        return _failed("interrupted", EXIT_INCONCLUSIVE, as_json="--json" in given)
    except BrokenPipeError:
        # The reader has gone, as 'head' does: there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_USAGE
    except Exception as error:  # noqa: BLE001  (whatever it is: a line, a file with its traceback, a status of its own)
        from attnbench.commands.unforeseen import failed

        return failed(error, given)
    return 0


def _failed(message: str, code: int, *, as_json: bool) -> int:
    complain(message)
    if as_json:
        document({"error": message, "exit_code": code})
    return code


if __name__ == "__main__":
    sys.exit(main())
