"""What has changed since a run was made: the library below an implementation, its code, and whether it is still here.

An answer from a saved run is about the code and the versions of that day. Nothing is imported to look: versions are
those of the installed packages, and code is compared by git in the checkout that it is in.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from attnbench.backends import discover
from attnbench.backends.card import GPU_RECORD
from attnbench.results.schema import Fingerprint
from attnbench.versions import installed

PATIENCE_S = 10.0
Known = Literal["changed", "unknown"]


@dataclass(frozen=True)
class Since:
    """What changed below an implementation since it was measured, or may have: ``known`` says which."""

    known: Known
    text: str


def gone(impl: str) -> str | None:
    """Why an implementation cannot be used here now; ``None`` where it can, or came from a file of the user's own."""
    backend, _, variant = impl.partition("/")
    card = discover.backends().get(backend)
    return f"there is no backend {backend!r} here now" if card is None else card.why_missing(variant)


def is_from_a_file(impl: str) -> bool:
    """Whether an implementation is none that a backend announces: it came from a drop-in file."""
    return impl not in discover.implementation_names()


def since(then: Fingerprint, impl: str) -> Since | None:
    """What changed below an implementation since a run of this fingerprint; ``None`` where nothing did."""
    backend = impl.partition("/")[0]
    if versions := _versions(then, backend):
        return Since("changed", versions)
    return code_since(then, impl)


def code_since(then: Fingerprint, impl: str) -> Since | None:
    """The same of its code alone, whatever the versions of the packages below it are."""
    backend = impl.partition("/")[0]
    if is_from_a_file(impl):
        return Since("unknown", "no backend announces it: it came from a file of your own, which is not compared")
    return _release(then) if then.git is None else _code(then.git, backend)


def _versions(made: Fingerprint, backend: str) -> str:
    """The packages of a backend whose versions are others now, as ``torch 2.12.0 then, 2.13.0 now``."""
    parts, card = [], discover.backends().get(backend)
    for name, reported in made.frameworks.get(backend, {}).items():
        then = made.packages.get(name, reported)
        now = card.version() if card is not None and name == card.requires else installed(name)
        if now is not None and now != then:
            parts.append(f"{name} {then} then, {now} now")
    return ", ".join(parts)


def _release(made: Fingerprint) -> Since | None:
    """Of code that was in no checkout: whether attnbench is of the same version."""
    then, now = made.packages.get("attnbench"), installed("attnbench")
    if then is None or now is None:
        return Since("unknown", "which code was measured was not recorded")
    return None if then == now else Since("changed", f"attnbench {then} then, {now} now")


def _code(then: str, backend: str) -> Since | None:
    """By git: whether the folder of a backend is as it was at a commit."""
    if then.endswith("+"):
        return Since("unknown", f"it was measured with uncommitted changes on {then[:-1]}")
    card = discover.backends().get(backend)
    spec = None if card is None else importlib.util.find_spec(card.package)
    places = (spec.submodule_search_locations or []) if spec is not None else []
    same = _same(then, str(next(iter(places), "")))
    if same is None:
        return Since("unknown", f"whether its code has changed since {then} is not known")
    return None if same else Since("changed", f"the code of {backend} has changed since {then}")


@cache
def _same(commit: str, folder: str) -> bool | None:
    """Whether the files in a folder are those of a commit, but for records; ``None`` where git cannot tell."""
    git = shutil.which("git")
    if git is None or not folder or not Path(folder).is_dir():
        return None
    words = [git, "-C", folder, "diff", "--quiet", commit, "--", ".", f":(exclude){GPU_RECORD}"]
    try:
        done = subprocess.run(words, capture_output=True, timeout=PATIENCE_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return {0: True, 1: False}.get(done.returncode)
