"""An option is declared once, in ``commands/options.py`` or, of ``dispatch`` alone, in ``commands/blocks/options.py``.

A command's signature only names it.
"""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
import typer
from typer.models import OptionInfo

import attnbench
from attnbench.commands import app as cli
from attnbench.commands import options
from attnbench.commands.blocks import options as of_blocks

SOURCE = Path(attnbench.__file__).parent
HOMES = (Path("commands/options.py"), Path("commands/blocks/options.py"))
DECLARED = vars(options) | vars(of_blocks)


def declarations_elsewhere(source: Path) -> list[str]:
    """Where a ``typer.Option`` is made, or brought in, outside the files for them."""
    found = []
    for path in sorted(source.rglob("*.py")):
        where = path.relative_to(source)
        if where not in HOMES and any(
            _declares(node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        ):
            found.append(str(where))
    return found


def _declares(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "Option"
    return isinstance(node, ast.ImportFrom) and "Option" in {name.name for name in node.names}


def declared(names: Mapping[str, Any]) -> dict[int, OptionInfo]:
    """The declarations behind the aliases of a module; two types may share one."""
    hints = [value for value in names.values() if get_origin(value) is Annotated]
    found = [one for hint in hints for one in get_args(hint)[1:] if isinstance(one, OptionInfo)]
    return {id(one): one for one in found}


def spellings(one: OptionInfo) -> tuple[str, ...]:
    """``("--quiet", "-q")``; inside ``Annotated`` typer keeps the first one where the default would stand."""
    return (str(one.default), *(one.param_decls or ()))


def said_twice(names: Mapping[str, Any]) -> list[Any]:
    """Declarations that say what another one says already: the same name with the same help."""
    same = Counter((spellings(one), one.help, one.metavar) for one in declared(names).values())
    return [said for said, count in same.items() if count > 1]


def functions() -> Iterator[Callable[..., Any]]:
    """The function behind every command, those of a group too, and the program's own."""
    yield cli.common
    for file in cli.FILES:
        found = getattr(import_module(f"attnbench.commands.{file}"), file)
        if isinstance(found, typer.Typer):
            registered = [*found.registered_commands, found.registered_callback]
            yield from (one.callback for one in registered if one is not None and one.callback is not None)
        else:
            yield found


def used(function: Callable[..., Any]) -> list[OptionInfo]:
    """The declarations that a command's signature names."""
    hints = get_type_hints(function, include_extras=True)
    return [one for name in inspect.signature(function).parameters for one in _options(hints[name])]


def _options(hint: Any) -> list[OptionInfo]:
    return [one for one in get_args(hint)[1:] if isinstance(one, OptionInfo)]


def test_every_option_is_declared_in_the_files_for_them() -> None:
    assert declarations_elsewhere(SOURCE) == []


PLANTED = ["import typer\nJson = typer.Option('--json')\n", "from typer import Option as Other\n"]


@pytest.mark.parametrize("text", PLANTED)
def test_a_planted_declaration_would_be_seen(text: str, tmp_path: Path) -> None:
    (tmp_path / "commands").mkdir()
    for name in ("options", "list_"):
        (tmp_path / "commands" / f"{name}.py").write_text(text)
    assert declarations_elsewhere(tmp_path) == ["commands/list_.py"]


def test_no_option_is_declared_twice() -> None:
    assert said_twice(DECLARED) == []


def test_a_planted_second_declaration_would_be_seen() -> None:
    again = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
    assert said_twice({**DECLARED, "JsonAgain": again}) == [
        (("--json",), "One JSON document on standard output.", None)
    ]


def test_commands_name_the_declared_options_and_leave_none_out() -> None:
    known = declared(DECLARED)
    named = {id(one) for function in functions() for one in used(function)}
    assert len(named) > len(cli.FILES)
    assert named == known.keys()


def test_an_option_of_a_command_s_own_would_be_seen() -> None:
    def command(*, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
        del as_json

    assert {id(one) for one in used(command)} - declared(DECLARED).keys()


def test_no_command_has_two_options_of_one_name() -> None:
    for function in functions():
        names = Counter(name for one in used(function) for name in spellings(one))
        assert all(name.startswith("-") for name in names), function
        assert set(names.values()) <= {1}, function
