"""The code and the versions that every worker of a plan is held to: two of them would be two experiments."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from attnbench.backends.card import GPU_RECORD
from attnbench.dispatch.records import HeldVersions
from attnbench.errors import UsageError, not_one_of
from attnbench.results.fingerprint import PACKAGES, collect_fingerprint
from attnbench.results.schema import Fingerprint

# attnbench itself is held by its files, its version and nothing that a developer's copy may not have.
OURS = ("attnbench", "attnbench.impls", "attnbench.suites")
READ = (".py", ".toml", ".json")
NONE = "none"


@cache
def code_digest() -> str:
    """Twelve hexadecimal digits of the SHA-256 of attnbench's own files, wherever they are installed."""
    digest = hashlib.sha256()
    for name in OURS:
        spec = find_spec(name)
        digest.update(name.encode() + _contents(spec.submodule_search_locations or () if spec else (), name))
    return digest.hexdigest()[:12]


def _contents(roots: Iterable[str], name: str) -> bytes:
    """A digest of the files below the folders of a package, in an order that is the same wherever these are."""
    files = []
    for root in map(Path, roots):
        for file in (path for path in root.rglob("*") if path.suffix in READ and path.is_file()):
            if file.name == GPU_RECORD:
                continue
            place = file.relative_to(root).as_posix()
            if name != "attnbench" or not place.startswith(("impls/", "suites/")):
                files.append((place, hashlib.sha256(file.read_bytes()).digest()))
    return hashlib.sha256(b"".join(place.encode() + b"\0" + content for place, content in sorted(files))).digest()


def versions_here() -> HeldVersions:
    """What is installed here."""
    return versions_in(collect_fingerprint(), code_digest())


def versions_in(fingerprint: Fingerprint, code: str) -> HeldVersions:
    """What was installed where a fingerprint was taken."""
    packages = dict(fingerprint.packages)
    attnbench = packages.pop("attnbench", NONE)
    return HeldVersions(attnbench=attnbench, code=code, python=fingerprint.python, packages=packages)


def held_to(versions: HeldVersions, typed: Sequence[str]) -> HeldVersions:
    """The same with the versions that ``--hold NAME=VERSION`` names instead; ``none`` for a package that is not there.

    Raises ``UsageError`` for what is none of them.
    """
    packages, python = dict(versions.packages), versions.python
    known = ("python", *(name for name in PACKAGES if name != "attnbench"))
    for text in typed:
        name, equals, version = (part.strip() for part in text.partition("="))
        version = version.removeprefix("=").strip()
        if not (name and equals and version):
            msg = f"--hold {text}: write NAME=VERSION, such as --hold torch=2.7.1, or --hold torch=none"
            raise UsageError(msg)
        if name not in known:
            msg = f"--hold {text}: {not_one_of('package', name, known)}"
            raise UsageError(msg)
        if name == "python":
            python = version if " " in version else f"CPython {version}"
        elif version == NONE:
            packages.pop(name, None)
        else:
            packages[name] = version
    return versions.model_copy(update={"packages": packages, "python": python})


def differences(held: HeldVersions, worker: HeldVersions) -> list[str]:
    """What a worker has otherwise than the plan, each in a few words; empty where nothing is."""
    unlike = []
    if held.attnbench != worker.attnbench:
        unlike.append(f"attnbench {held.attnbench}, here {worker.attnbench}")
    elif held.code != worker.code:
        unlike.append(f"attnbench's own files (digest {held.code}, here {worker.code})")
    if held.python != worker.python:
        unlike.append(f"{held.python}, here {worker.python}")
    return unlike + _packages(held.packages, worker.packages)


def _packages(held: Mapping[str, str], worker: Mapping[str, str]) -> list[str]:
    names = [name for name in sorted({*held, *worker}) if held.get(name) != worker.get(name)]
    return [f"{name} {held.get(name, NONE)}, here {worker.get(name, NONE)}" for name in names]
