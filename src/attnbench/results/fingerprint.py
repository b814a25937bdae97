"""The fingerprint of this machine: what must be alike before two times may be compared.

**What a machine is** is written here and nowhere else. ``machine_id`` is its hardware, which outlives updates. Two
times are of one *machine* (``machine_of``) where all ``MACHINE_FIELDS`` are alike: the hardware, and what of the
system around it makes times others. Packages are not among them, since their change may be the question, nor is the
code or the folder that it lies in.

Imports no framework; their versions come from the workers (``Fingerprint.with_framework``). Every source may be
missing, as in a container or on another system than Linux; what is unknown is ``None``.
"""

from __future__ import annotations

import math
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from attnbench.attention.spec import stable_id
from attnbench.results.schema import Fingerprint, Gpu, Hardware

# What every backend requires, and what brings its compilers and kernels: a test holds this against their cards.
PACKAGES = (
    "attnbench",
    "numpy",
    "ml_dtypes",
    "scipy",
    "pandas",
    "torch",
    "jax",
    "jaxlib",
    "keras",
    "onnxruntime",
    "openvino",
    "triton",
    *("cupy", "cupy-cuda12x", "cupy-cuda13x"),
    "tinygrad",
    "mlx",
    *("mlx-cpu", "mlx-metal", "mlx-cuda", "mlx-cuda-12", "mlx-cuda-13"),
    *("jax-cuda12-plugin", "jax-cuda12-pjrt", "jax-cuda13-plugin", "jax-cuda13-pjrt"),
)
# The fields of a fingerprint that must be alike, with their names for people.
MACHINE_FIELDS = {
    "machine_id": "machine",
    "drivers": "GPU drivers",
    "governor": "CPU governor",
    "turbo": "turbo",
    "cpu_limit": "CPU limit",
    "memory_limit_bytes": "memory limit",
    "usable_cpus": "usable CPUs",
    "virtual": "virtualisation",
    "kernel": "kernel",
    "python": "Python",
    "spec_version": "specification version",
}
# What tells two machines of one name apart, as ``describe`` calls it, in the order in which it is tried.
TELLS_APART = (
    *("Cores", "Memory", "GPU", "Caches", "Governor", "Turbo", "CPU limit", "Memory limit", "Runs in", "Kernel"),
    *("Python", "Specification", "Machine"),
)
# Writes "gpus" and the name of each that CUDA sees; fails without CUDA. 100 is "there is no device".
ASK_CUDA = """
import ctypes, uuid
cuda = ctypes.CDLL("libcuda.so.1")
began, count = cuda.cuInit(0), ctypes.c_int(0)
assert began in (0, 100)
assert began == 100 or cuda.cuDeviceGetCount(ctypes.byref(count)) == 0
names = ["gpus"]
for number in range(count.value):
    raw = (ctypes.c_ubyte * 16)()
    assert cuda.cuDeviceGetUuid(raw, number) == 0
    names.append(f"GPU-{uuid.UUID(bytes=bytes(raw))}")
print(*names)
"""
SOURCE = Path(__file__).parent
PATIENCE_S = 10.0


def collect_fingerprint(root: Path = Path("/"), source: Path = SOURCE) -> Fingerprint:
    """The fingerprint of this machine; ``root`` is where /proc and /sys are read, ``source`` where git is asked."""
    cpu = root / "sys/devices/system/cpu"
    return Fingerprint(
        hardware=collect_hardware(root),
        kernel=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        governor=_read(cpu / "cpu0/cpufreq/scaling_governor"),
        turbo=_turbo(cpu),
        cpu_limit=_cpu_limit(root / "sys/fs/cgroup"),
        memory_limit_bytes=_memory_limit(root / "sys/fs/cgroup"),
        usable_cpus=usable_cpus(),
        virtual=_virtual(root),
        packages={name: version for name in PACKAGES if (version := _version(name))},
        git=git_state(source),
    )


def machine_of(fingerprint: Fingerprint) -> str:
    """A stable name of the machine: times of one name may be compared with each other, and no others."""
    return stable_id([getattr(fingerprint, field) for field in MACHINE_FIELDS])


def machine_name(fingerprint: Fingerprint) -> str:
    """A machine in a few words, such as ``AMD EPYC, 2 cores, virtual machine``."""
    hardware = fingerprint.hardware
    parts = [hardware.cpu_model or hardware.architecture]
    if fingerprint.usable_cpus:
        parts.append(f"{fingerprint.usable_cpus} core{'s' * (fingerprint.usable_cpus > 1)}")
    parts += list(dict.fromkeys(gpu.name for gpu in hardware.gpus))
    return ", ".join([*parts, *filter(None, [fingerprint.virtual])])


def machine_names(machines: Sequence[Fingerprint]) -> list[str]:
    """The names of different machines; those that share a name with what tells them apart, such as the kernel."""
    names = [machine_name(machine) for machine in machines]
    facts = [describe(machine) for machine in machines]
    for label in TELLS_APART:
        alike = [names.count(name) > 1 for name in names]
        said = {
            name: {fact.get(label) for fact, other in zip(facts, names, strict=True) if other == name} for name in names
        }
        names = [
            f"{name}, {label}: {fact.get(label, 'unknown')}" if shared and len(said[name]) > 1 else name
            for name, fact, shared in zip(names, facts, alike, strict=True)
        ]
    return names


def collect_hardware(root: Path = Path("/")) -> Hardware:
    """The hardware part of the fingerprint."""
    return Hardware(
        architecture=platform.machine(),
        cpu_model=_cpu_model(root / "proc/cpuinfo"),
        physical_cores=psutil.cpu_count(logical=False),
        logical_cores=psutil.cpu_count(logical=True),
        caches=_caches(root / "sys/devices/system/cpu/cpu0/cache"),
        memory_bytes=psutil.virtual_memory().total,
        gpus=_gpus(),
    )


def git_state(source: Path = SOURCE) -> str | None:
    """The commit of the checkout that holds ``source``, with ``+`` where files were changed; ``None`` without one."""
    commit = _command("git", "-C", str(source), "rev-parse", "--short=12", "HEAD")
    if not commit:
        return None
    changed = _command("git", "-C", str(source), "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+" if changed else commit


def _read(path: Path) -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").strip() or None
    return None


def _command(*command: str) -> str | None:
    program = shutil.which(command[0])
    if program is None:
        return None
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        return done.stdout.strip() or None
    return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_model(cpuinfo: Path) -> str | None:
    for line in (_read(cpuinfo) or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model", "cpu model"):
            return value.strip()
    return platform.processor() or None


def _caches(folder: Path) -> dict[str, str]:
    sizes = {}
    for index in sorted(folder.glob("index*")):
        level, kind, size = (_read(index / name) for name in ("level", "type", "size"))
        if level and size:
            suffix = {"Data": "d", "Instruction": "i"}.get(kind or "", "")
            sizes[f"L{level}{suffix}"] = size
    return sizes


def _turbo(cpu: Path) -> str | None:
    no_turbo, boost = _read(cpu / "intel_pstate/no_turbo"), _read(cpu / "cpufreq/boost")
    if no_turbo is not None:
        return "off" if no_turbo == "1" else "on"
    return None if boost is None else ("on" if boost == "1" else "off")


def _cpu_limit(cgroup: Path) -> float | None:
    quota, period = (_read(cgroup / "cpu.max") or "max 100000").split()[:2]
    if quota == "max":
        quota = _read(cgroup / "cpu/cpu.cfs_quota_us") or "-1"
        period = _read(cgroup / "cpu/cpu.cfs_period_us") or "100000"
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _memory_limit(cgroup: Path) -> int | None:
    limit = _read(cgroup / "memory.max") or _read(cgroup / "memory/memory.limit_in_bytes") or "max"
    unlimited = not limit.isdigit() or int(limit) >= psutil.virtual_memory().total
    return None if unlimited else int(limit)


def usable_cpus() -> int | None:
    """Processors that this process may use; ``None`` where the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def processors(root: Path = Path("/")) -> int | None:
    """Processors that this process gets work from: those it may use, and no more than its container's limit."""
    usable, limit = usable_cpus(), _cpu_limit(root / "sys/fs/cgroup")
    if usable is None or limit is None:
        return usable
    return max(1, min(usable, math.ceil(limit)))


def _virtual(root: Path) -> str | None:
    if "hypervisor" in (_read(root / "proc/cpuinfo") or ""):
        return "virtual machine"
    return "container" if (root / ".dockerenv").exists() else None


def _gpus() -> tuple[Gpu, ...]:
    """The GPUs that this process may use, or all where nobody tells which; nvidia-smi always lists all."""
    query = "--query-gpu=name,memory.total,driver_version,uuid"
    listed = _command("nvidia-smi", query, "--format=csv,noheader,nounits") or ""
    visible = _visible_gpus(os.environ.get("CUDA_VISIBLE_DEVICES")) if listed else None
    gpus = []
    for line in listed.splitlines():
        name, memory, driver, uuid = ([*(part.strip() for part in line.split(",")), "", "", "", ""])[:4]
        if visible is not None and uuid and uuid not in visible:
            continue
        size = int(memory) * 2**20 if memory.isdigit() else None
        gpus.append(Gpu(name=name, memory_bytes=size, driver=driver or None))
    return tuple(gpus)


@cache
def _visible_gpus(chosen: str | None) -> frozenset[str] | None:
    """The names of the GPUs that ``CUDA_VISIBLE_DEVICES`` leaves; ``None`` where it is not set, or nobody tells.

    CUDA itself is asked, in a process of its own: its numbers are not those of nvidia-smi where GPUs differ.
    """
    if chosen is None:
        return None
    seen = _command(sys.executable, "-I", "-c", ASK_CUDA)
    return None if seen is None else frozenset(seen.split()[1:])


def describe(fingerprint: Fingerprint) -> dict[str, str]:
    """The fingerprint as pairs of label and text for people, unknown parts left out."""
    hardware = fingerprint.hardware
    gib = 2**30
    rows = {
        "Machine": fingerprint.machine_id,
        "CPU": hardware.cpu_model,
        "Cores": f"{hardware.physical_cores or '?'} physical, {hardware.logical_cores or '?'} logical, "
        f"{fingerprint.usable_cpus or '?'} usable",
        "Caches": ", ".join(f"{name} {size}" for name, size in hardware.caches.items()),
        "Governor": fingerprint.governor,
        "Turbo": fingerprint.turbo,
        "Memory": hardware.memory_bytes and f"{hardware.memory_bytes / gib:.1f} GiB",
        "CPU limit": fingerprint.cpu_limit and f"{fingerprint.cpu_limit:g} cores",
        "Memory limit": fingerprint.memory_limit_bytes and f"{fingerprint.memory_limit_bytes / gib:.1f} GiB",
        "Runs in": fingerprint.virtual,
        "GPU": "; ".join(f"{gpu.name} (driver {gpu.driver or 'unknown'})" for gpu in hardware.gpus),
        "Kernel": fingerprint.kernel,
        "Python": fingerprint.python,
        "Packages": ", ".join(f"{name} {version}" for name, version in fingerprint.packages.items()),
        "Code": fingerprint.git,
        "Specification": f"version {fingerprint.spec_version}",
    }
    for backend, versions in fingerprint.frameworks.items():
        rows[f"{backend} reports"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    for backend, pools in fingerprint.thread_pools.items():
        rows[f"{backend} threads"] = ", ".join(f"{name} {count}" for name, count in pools.items())
    return {label: text for label, text in rows.items() if text}
