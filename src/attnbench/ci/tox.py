"""Two environments of tox, in the form of the file that holds tox's settings: ``attnbench`` and ``attnbench-ab``.

tox reads the first of these that speaks of it: tox.ini, setup.cfg, pyproject.toml, tox.toml. So do we.
"""

from __future__ import annotations

import configparser
import itertools
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnbench.ci.kernel import KernelCi
from attnbench.errors import UsageError

CHECK, AB = "attnbench", "attnbench-ab"
NEW = "tox.ini"
# Some editors begin a file in UTF-8 with it; tox takes it away too.
MARK = "\ufeff"
BASE = "ATTNBENCH_BASE"
SAYS = {
    CHECK: "hold the kernel to the float64 oracle; options behind --",
    AB: "is the kernel of HEAD slower than that of {base}, or larger in memory? {variable} names another branch",
}
LEGACY = (
    "pyproject.toml has tox's settings as one text, legacy_tox_ini: add there by hand what --only tox --print shows, "
    "and type --only workflow"
)
HEAD_OF_NEW = "[tox]\nmin_version = 4\nenv_list = attnbench\n\n"


@dataclass(frozen=True)
class ToxFile:
    """A file that holds tox's settings, or will: its name, and the table of its settings if it is TOML.

    ``refused`` says why nothing can be added to it.
    """

    name: str
    table: tuple[str, ...] | None = None
    refused: str | None = None

    def section(self, kernel: KernelCi) -> str:
        """Both environments, as the file has them."""
        if self.table is None:
            return "\n".join([_in_ini(kernel, CHECK), _in_ini(kernel, AB)])
        return "\n".join([_in_toml(kernel, CHECK, self.table), _in_toml(kernel, AB, self.table)])

    def environments(self, text: str) -> set[str]:
        """Which of our two names a text has as environments."""
        if self.table is None:
            sections = _ini(self.name, text).sections()
            named = {name for section in sections for name in _spelled_out(section)}
            return {name for name in (CHECK, AB) if f"testenv:{name}" in named}
        return {CHECK, AB} & set(_within(_toml(self.name, text), (*self.table, "env")))


def tox_file(root: Path, read: Callable[[Path], str]) -> ToxFile:
    """The file of a folder that holds tox's settings; a new tox.ini where none does."""
    if (root / NEW).exists():
        return ToxFile(NEW)
    setup = root / "setup.cfg"
    if setup.exists() and "tox:tox" in _ini(setup.name, read(setup)).sections():
        return ToxFile(setup.name)
    project = root / "pyproject.toml"
    if project.exists():
        settings = _within(_toml(project.name, read(project)), ("tool", "tox"))
        if set(settings) - {"legacy_tox_ini"}:
            return ToxFile(project.name, ("tool", "tox"))
        if settings:
            return ToxFile(project.name, refused=LEGACY)
    return ToxFile("tox.toml", ()) if (root / "tox.toml").exists() else ToxFile(NEW)


def _says(kernel: KernelCi, name: str) -> str:
    return SAYS[name].format(base=kernel.base, variable=BASE)


def _in_ini(kernel: KernelCi, name: str) -> str:
    words = kernel.check_words if name == CHECK else kernel.ab_words
    sides = "" if name == CHECK else f"ab {{env:{BASE}:{kernel.base}}} HEAD "
    deps = "".join(f"    {line}\n" for line in (kernel.requirement, *kernel.installs))
    return (
        f"[testenv:{name}]\ndescription = {_says(kernel, name)}\nskip_install = true\ndeps =\n{deps}"
        f"commands = attnbench {sides or 'check '}{shlex.join(words)} {{posargs}}\n"
    )


def _in_toml(kernel: KernelCi, name: str, table: Sequence[str]) -> str:
    words = kernel.check_words if name == CHECK else kernel.ab_words
    base = f'{{ replace = "env", name = "{BASE}", default = {_text(kernel.base)} }}'
    sides = ['"check"'] if name == CHECK else ['"ab"', base, '"HEAD"']
    more = '{ replace = "posargs", default = [], extend = true }'
    command = ", ".join(['"attnbench"', *sides, *map(_text, words), more])
    deps = ", ".join(map(_text, (kernel.requirement, *kernel.installs)))
    return (
        f"[{'.'.join([*table, 'env', name])}]\ndescription = {_text(_says(kernel, name))}\nskip_install = true\n"
        f"deps = [{deps}]\ncommands = [[{command}]]\n"
    )


def _text(value: str) -> str:
    """A basic string of TOML: what is printable is escaped there as in JSON."""
    return json.dumps(value, ensure_ascii=False)


def _ini(name: str, text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        parser.read_string(text.removeprefix(MARK))
    except configparser.Error as error:
        msg = f"{name} cannot be read: {' '.join(str(error).split())}; mend it, or type --only workflow"
        raise UsageError(msg) from None
    return parser


def _spelled_out(section: str) -> list[str]:
    """The names that a section with braces stands for: ``testenv:{a,b}-c`` is ``testenv:a-c`` and ``testenv:b-c``."""
    parts = re.split(r"\{([^{}]*)\}", section)
    choices = [[word.strip() for word in part.split(",")] if i % 2 else [part] for i, part in enumerate(parts)]
    return ["".join(words) for words in itertools.product(*choices)]


def _toml(name: str, text: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(text.removeprefix(MARK))
    except tomllib.TOMLDecodeError as error:
        msg = f"{name} cannot be read: {error}; mend it, or type --only workflow"
        raise UsageError(msg) from None


def _within(settings: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any]:
    """A table within tables; empty where there is none."""
    for name in names:
        inner = settings.get(name, {})
        settings = inner if isinstance(inner, Mapping) else {}
    return settings
