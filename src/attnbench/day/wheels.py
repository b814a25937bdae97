"""Packages for a machine that has no network: ``python3 src/attnbench/day/wheels.py``, and there they are installed.

``get`` (the default) downloads into ``.gpu/wheels`` what ``pyproject.toml`` names and such a machine lacks, with what
that needs, and builds a wheel of this project. Beside the folder it puts ``day.sh``, which plays the day, and what is
predicted of the kernels in Triton, which there is no time for on the day; ``install WHEELS SITE`` puts what is missing
there, and this project, into the folder SITE.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PIP = (sys.executable, "-m", "pip")
# The extras whose packages a day uses. PyTorch, Triton and JAX are there, with their CUDA, and are not to be replaced.
EXTRAS = ("report", "cuda")
OURS = "attnbench-*.whl"
THERE = {
    "attnbench", "filelock", "jax", "jaxlib", "jaxtyping", "jinja2", "matplotlib", "ml-dtypes", "numpy",
    "nvidia-ml-py", "optax", "pandas", "psutil", "pyarrow", "rich", "scipy", "seaborn", "threadpoolctl", "torch",
    "triton", "typer",
}  # fmt: skip
# What packages that are carried need besides, by the names of both.
NEEDED = {"pydantic": ("pydantic-core", "annotated-types", "typing-inspection")}
PREDICTED = ("triton/flash", "triton/decode", "triton/additive")
PREDICTIONS = "predictions.json"
DAY = "src/attnbench/day/day.py"
SCRIPT = """#!/usr/bin/env bash
# In the copy of the project, on the machine with the GPU: OUT=FOLDER bash .gpu/day.sh. docs/gpu.md says the rest.
exec "${{PYTHON:-python3}}" "$(dirname "${{BASH_SOURCE[0]}}")/../{day}" "$@"
"""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def plain(requirement: str) -> str:
    """The name of a requirement, as packages are compared."""
    return re.split(r"[\s<>=!~;\[]", requirement.strip(), maxsplit=1)[0].lower().replace("_", "-")


def wanted(project: Path) -> list[str]:
    """The requirements that are to be carried: the core's and those of the extras, without what is there."""
    project_table = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project_table["optional-dependencies"]
    every = [*project_table["dependencies"], *(requirement for extra in EXTRAS for requirement in extras[extra])]
    return [requirement for requirement in dict.fromkeys(every) if plain(requirement) not in THERE]


def get(wheels: Path, python: str) -> int:
    """Download them for that Python on Linux; pydantic's core in the one version that it takes.

    They replace those that were there: of two versions of a package, the machine would have both.
    """
    wheels.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wheels.parent) as folder:
        fresh = Path(folder)
        pip = [*PIP, "download", "-q", "-d", folder, "--only-binary=:all:", "--no-deps", "--python-version", python]
        for platform in PLATFORMS:
            pip += ["--platform", platform]
        names = wanted(ROOT)
        for requirement in names:
            subprocess.run([*pip, requirement], check=True)
        for requirement in [besides for name in names for besides in needs(plain(name), fresh)]:
            subprocess.run([*pip, requirement], check=True)
        subprocess.run([*PIP, "wheel", "-q", "--no-deps", "-w", folder, str(ROOT)], check=True)
        wheels.mkdir(exist_ok=True)
        for old in wheels.glob("*.whl"):
            old.unlink()
        for new in fresh.glob("*.whl"):
            new.replace(wheels / new.name)
    size = sum(wheel.stat().st_size for wheel in wheels.glob("*.whl"))
    sys.stdout.write(f"{len(list(wheels.glob('*.whl')))} wheels, {size / 2**20:.1f} MiB: {wheels}\n")
    script = wheels.parent / "day.sh"
    script.write_text(SCRIPT.format(day=DAY), encoding="utf-8")
    sys.stdout.write(f"the day, on the other machine: OUT=FOLDER bash {script.relative_to(script.parents[1])}\n")
    return 0


def predict(file: Path, gpu: str, carried: Path | None) -> bool:
    """Write what these kernels are for a GPU of this name, or copy what was written before; say what is missing."""
    words = ("precheck", *PREDICTED, "--launches", "--roofline", gpu, "--json", "--quiet")
    try:
        if carried is not None:
            text = carried.read_text(encoding="utf-8")
        else:
            sys.stdout.write("predicting what the kernels in Triton are there; this takes some minutes\n")
            command = [sys.executable, "-m", "attnbench", *words]
            text = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True).stdout
        parts = json.loads(text)["parts"]
        whole = any(row["part"] == "grids" and row["detail"] for row in parts)
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if whole:
        file.write_text(text, encoding="utf-8")
        sys.stdout.write(f"predictions: {file}\n")
    else:
        source = "attnbench with its extra triton is not installed here" if carried is None else f"{carried} holds none"
        sys.stderr.write(f"no predictions: {source}. Type: attnbench {' '.join(words)} > {file}\n")
    return whole


def needs(name: str, wheels: Path) -> list[str]:
    """What a carried package needs besides, in the versions that its wheel says."""
    said: dict[str, str] = {}
    for wheel in wheels.glob(f"{name.replace('-', '_')}-*.whl"):
        (distribution,) = importlib.metadata.Distribution.discover(name=name, path=[str(wheel)])
        said = {
            plain(requirement): requirement.partition(";")[0].strip() for requirement in distribution.requires or ()
        }
    return [said.get(besides, besides) for besides in NEEDED.get(name, ())]


def missing(wheels: Path) -> list[Path]:
    """Those that this Python has not, in any version; the project's own is no matter of this."""
    have = {"attnbench", *(plain(each.metadata["Name"]) for each in importlib.metadata.distributions())}
    return [wheel for wheel in sorted(wheels.glob("*.whl")) if plain(wheel.name.partition("-")[0]) not in have]


def install(wheels: Path, site: Path) -> int:
    """Into a folder, so that nothing of the machine is changed; the project comes last, and decides.

    It is built there, as the copy has it; where that cannot be done, as without setuptools, its wheel is taken.
    """
    pip = [*PIP, "install", "-q", "--isolated", "--no-index", "--no-deps", "--no-build-isolation", "--no-compile"]

    def installed(what: Path) -> bool:
        code = subprocess.run([*pip, "--upgrade", "--target", str(site), str(what)], check=False).returncode
        if code:
            sys.stderr.write(f"{what} was not installed: exit status {code} of pip\n")
        return code == 0 or (what.suffix == ".whl" and unpacked(what, site))

    for wheel in missing(wheels):
        installed(wheel)
    return int(not any(installed(what) for what in [ROOT, *sorted(wheels.glob(OURS))]))


def unpacked(wheel: Path, site: Path) -> bool:
    """The same without pip, which a machine may lack: a wheel is an archive of what is installed."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    except (OSError, zipfile.BadZipFile) as error:
        sys.stderr.write(f"{wheel} was not unpacked: {error}\n")
        return False
    sys.stderr.write(f"{wheel} was unpacked instead\n")
    return True


def main() -> int:
    """Get or install."""
    parser = argparse.ArgumentParser(description="Packages for a machine without a network.")
    parser.add_argument("what", nargs="?", choices=("get", "install"), default="get")
    parser.add_argument("wheels", nargs="?", type=Path, default=ROOT / ".gpu" / "wheels")
    parser.add_argument("site", nargs="?", type=Path, help="of install: the folder that is put in front")
    parser.add_argument("--python", default="3.12", help="of get: the Python of that machine; 3.12 by itself")
    parser.add_argument("--gpu", default="H100", help="of get: what is predicted for (A100, H100, H200, B200)")
    parser.add_argument("--predicted", type=Path, metavar="FILE", help="of get: carry these, and predict nothing")
    given = parser.parse_args()
    if given.what == "get":
        code = get(given.wheels.resolve(), given.python)
        predict(given.wheels.parent / PREDICTIONS, given.gpu, given.predicted)
        return code
    if given.site is None:
        parser.error("install needs both folders: install WHEELS SITE")
    return install(given.wheels, given.site)


if __name__ == "__main__":
    sys.exit(main())
