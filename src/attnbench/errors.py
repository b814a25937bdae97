"""The errors of attnbench: one base class, and messages that say what was asked, what is possible, what to type.

Every error carries the exit status of the command line (see ``docs/interface.md``), so that the same mistake
reads the same from Python and from the shell.
"""

from __future__ import annotations

import difflib
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

EXIT_OK = 0
EXIT_GATE_FAILED = 1
EXIT_USAGE = 2
EXIT_INCONCLUSIVE = 3
EXIT_CELLS_FAILED = 4
EXIT_NOTHING_MEASURED = 5
# An exception that nobody foresaw, as sysexits.h numbers an error of the software itself.
EXIT_UNFORESEEN = 70

# Where several apply the first of these wins (interface: "2, then 1, 4, 5, 3, 0").
EXIT_PRECEDENCE = (
    EXIT_USAGE,
    EXIT_GATE_FAILED,
    EXIT_CELLS_FAILED,
    EXIT_NOTHING_MEASURED,
    EXIT_INCONCLUSIVE,
    EXIT_OK,
)


class AttnbenchError(Exception):
    """Base of all errors that attnbench raises on purpose; ``exit_code`` is what the command line returns."""

    exit_code = EXIT_USAGE


class SpecError(AttnbenchError, ValueError):
    """The problem asked for is not a problem of the attention spec; raised before any kernel is called."""


class UnsupportedError(AttnbenchError):
    """The implementation does not do what was asked of it; never answered by a silent fallback.

    A kernel that raises it itself *refuses* the call: that is an unsupported case, and no disagreement.
    """


class NotDeclaredError(UnsupportedError):
    """The implementation does not declare what was asked of it: it was not called."""


class UndeliveredError(UnsupportedError):
    """The implementation was called and did not give what it declares: a disagreement, wherever it is judged."""


class UncountedError(UnsupportedError):
    """A framework whose threads cannot be counted, and so not held to a number. No kernel is at fault."""


# Kinds of UnsupportedError that the harness raises about a kernel: with these the kernel has not refused anything.
NOT_ITS_OWN = (NotDeclaredError, UndeliveredError, UncountedError)


def is_refusal(error: BaseException) -> bool:
    """Whether an error was raised by a kernel itself, to say that it does not take a call."""
    return isinstance(error, UnsupportedError) and not isinstance(error, NOT_ITS_OWN)


def refusal_of(error: BaseException) -> str:
    """The kernel's own words, in one line."""
    return " ".join(str(error).split()) or "refused without a word"


class UsageError(AttnbenchError):
    """Wrong usage or configuration; nothing ran and nothing was written."""


class DeclarationError(UsageError):
    """A drop-in file that declares something wrong, or is no Python: it is to be mended before anything is called."""


class MissingExtraError(UsageError):
    """An optional package is not installed; names it and the command that installs it.

    ``package`` is named as the extra that brings it where it is not given; without an extra it is installed by itself.
    """

    def __init__(self, what: str, extra: str | None, package: str | None = None) -> None:
        self.extra = extra
        missing = package or extra or ""
        super().__init__(f"{what} needs {missing}, which is not installed. Type: {pip_install(extra, missing)}")


def pip_install(extra: str | None, package: str) -> str:
    """What to type for a package that is missing: the extra of attnbench that brings it, else the package itself."""
    return f"pip install 'attnbench[{extra}]'" if extra else f"pip install {package}"


def upgrade() -> str:
    """What to type for a newer attnbench, by where the one that is installed came from (PEP 610)."""
    origin = _origin()
    folder = _folder(origin)
    if folder is None:
        return install_from_origin("pip", "--upgrade")
    if (Path(folder) / ".git").exists():
        return f"git -C {shlex.quote(folder)} pull && {install_from_origin()}"
    return f"{install_from_origin()} (once the newer version is in that folder)"


def install_from_origin(pip: str = "pip", *options: str) -> str:
    """What to type to install this attnbench from where it came from, perhaps by another Python's ``pip``."""
    origin = _origin()
    folder = _folder(origin)
    if folder is not None:
        editable = ["-e"] if origin["dir_info"].get("editable") else []
        return f"{pip} install {shlex.join([*editable, folder])}"
    url = str(origin.get("url", "attnbench"))
    source = f"{origin['vcs_info']['vcs']}+{url}" if "vcs_info" in origin else url
    return f"{pip} install {shlex.join([*options, source])}"


def installed_from() -> str | None:
    """Where pip gets this attnbench from on any machine: an address, or ``==VERSION``; ``None`` for a folder here."""
    from importlib.metadata import version

    origin = _origin()
    url = str(origin.get("url", ""))
    if not url:
        return f"=={version('attnbench')}"
    if url.startswith("file:"):
        return None
    return f"{origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}" if "vcs_info" in origin else url


def _folder(origin: Mapping[str, Any]) -> str | None:
    """The folder that attnbench was installed from, such as a clone."""
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    return url2pathname(urlsplit(origin["url"]).path) if "dir_info" in origin else None


def _origin() -> Mapping[str, Any]:
    """Where the attnbench that is installed came from; empty where that was an index, or is not known."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        text = distribution("attnbench").read_text("direct_url.json")
    except PackageNotFoundError:
        return {}
    origin: Mapping[str, Any] = json.loads(text) if text else {}
    return origin


class ResultsError(UsageError):
    """A results folder or file is missing, damaged, newer than this program, or not ours; it is left untouched."""


class NothingSelectedError(UsageError):
    """The selection matches nothing."""

    exit_code = EXIT_NOTHING_MEASURED


def worst_exit(codes: Iterable[int]) -> int:
    """The one exit status that stands for several, by ``EXIT_PRECEDENCE``."""
    several = set(codes) or {EXIT_OK}
    return next(code for code in EXIT_PRECEDENCE if code in several)


# What people call a dtype, a phase or a device elsewhere, in lower case, by our names for it.
NICKNAMES = {
    "bfloat16": ("bf16",),
    "float16": ("fp16", "f16", "half"),
    "float32": ("fp32", "f32", "float", "single"),
    "float64": ("fp64", "f64", "double"),
    "cuda": ("gpu", "cuda:0", "nvidia"),
    "forward": ("fwd", "inference", "prefill"),
    "prefill": ("fwd", "forward", "inference", "prompt"),
    "backward": ("bwd", "fwd+bwd", "train", "training"),
    "train": ("bwd", "backward", "fwd+bwd"),
    "decode": ("generate", "generation", "token"),
}


def suggest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for a near miss, in whatever case, and for a nickname; else an empty string."""
    known = list(known)
    folded = name.casefold()
    close = [level for level in known if folded in NICKNAMES.get(level, ()) or folded == level.casefold()]
    close = close or difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def not_one_of(what: str, name: object, known: Iterable[str]) -> str:
    """The sentence for a name that is none of those there are: ``dtype 'f32' is not one of ...; did you mean ...``."""
    known = list(known)
    return f"{what} {name!r} is not one of {', '.join(known)}{suggest(str(name), known)}"


def device_not_there(device: str, backend: str, there: Iterable[str]) -> str:
    """Why a framework computes nothing on a device here, with the devices that it has."""
    return f"device {device} is not there; {backend} has {', '.join(there) or 'none here'}"


def check_known(what: str, names: Iterable[str], known: Collection[str]) -> None:
    """Raise ``UsageError`` for a name of a dtype, a feature, a device that is none."""
    for name in names:
        if name not in known:
            raise UsageError(not_one_of(what, name, known))
