"""Launches as machine code: compiled by Triton for one architecture, and what its registers, memory and PTX say."""

from __future__ import annotations

import importlib
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

from attnbench.precheck.triton.architectures import GRID, MULTIPROCESSORS, TENSOR_MEMORY_COLUMNS, WARP, occupancy
from attnbench.precheck.triton.launches import Launch
from attnbench.precheck.triton.products import products, without_tensor_cores

SECONDS = 120.0
OF_RESOURCES = re.compile(r"REG:(\d+) STACK:(\d+)")
OF_SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
LONGEST_REASON = 300
OF_PTXAS = ("ptxas fatal", "ptxas error", "ptxas /tmp")  # how its complaints begin


@dataclass(frozen=True)
class CompiledVariant:
    """One kernel compiled for one kind of arguments.

    ``multiplies`` has the dtypes of its matrix products, and ``tensor_core`` says whether all of them that should be on
    tensor cores are. ``untold`` says why a number is not known.
    """

    kernel: str
    variant: str
    compiled: bool
    reason: str | None = None
    registers: int | None = None
    spill_bytes: int | None = None
    shared_bytes: int | None = None
    instructions: tuple[str, ...] = ()
    multiplies: tuple[str, ...] = ()
    tensor_core: bool = False
    occupancy: float | None = None
    limited_by: str | None = None
    num_warps: int | None = None
    num_stages: int | None = None
    grid: tuple[int, ...] = ()
    case: str = ""
    choice: int = 0
    faults: tuple[str, ...] = field(default=())
    untold: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def compiled(launches: Sequence[Launch], arch: str) -> list[CompiledVariant]:
    """Every distinct launch, compiled for one architecture; the same machine code may be launched with many grids."""
    variants: dict[str, CompiledVariant] = {}
    distinct: dict[tuple[str, int], list[Launch]] = {}
    same = _same_choices(launches)
    for launch in launches:
        distinct.setdefault((launch.key, same[launch.choice]), []).append(launch)
    rows = []
    for (key, choice), alike in distinct.items():
        if key not in variants:
            variants[key] = _compiled(alike[0], arch)
        shown = max(alike, key=lambda launch: len(_grid(launch.grid)))
        faults = (*variants[key].faults, *_grid(shown.grid))
        rows.append(replace(variants[key], choice=choice, case=shown.case, grid=shown.grid, faults=faults))
    return rows


def _same_choices(launches: Sequence[Launch]) -> dict[int, int]:
    """For each choice of the autotuner the first one among the same kernels."""
    keys: dict[int, list[str]] = {}
    for launch in launches:
        keys.setdefault(launch.choice, []).append(launch.key)
    first: dict[frozenset[str], int] = {}
    return {choice: first.setdefault(frozenset(among), choice) if choice else 0 for choice, among in keys.items()}


def _compiled(launch: Launch, arch: str) -> CompiledVariant:
    compiler = importlib.import_module("triton.compiler")
    targets = importlib.import_module("triton.backends.compiler")
    sm = MULTIPROCESSORS[arch]
    settings = launch.options
    how = {"num_warps": settings.num_warps, "num_stages": settings.num_stages, "grid": launch.grid}
    try:
        source = compiler.ASTSource(launch.kernel, launch.signature, launch.constexprs, launch.attributes)
        made = compiler.compile(
            source, target=targets.GPUTarget("cuda", sm.capability, WARP), options=settings.__dict__
        )
    except Exception as error:  # noqa: BLE001  (whatever a compiler raises is why there is no machine code)
        why = _why(error)
        return CompiledVariant(
            launch.name, launch.says, compiled=False, reason=why, faults=(f"it does not compile: {why}",), **how
        )
    return _read(launch, made, arch, how)


def _why(error: Exception) -> str:
    """What a compiler complains of, in one line: where it points at, and its last words."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if line.startswith(OF_PTXAS)] or lines
    cause = error.__cause__ or error.__context__
    if cause is not None and str(cause).strip() not in str(error):
        lines.append(f"{type(cause).__name__}: {str(cause).strip().splitlines()[0]}")
    text = f"{type(error).__name__}: {' '.join(dict.fromkeys((*lines[:1], *lines[-1:])))}"
    return text[:LONGEST_REASON]


def _read(launch: Launch, made: Any, arch: str, how: dict[str, Any]) -> CompiledVariant:
    sm, metadata = MULTIPROCESSORS[arch], made.metadata
    used = _resources(launch, made, arch)
    how = {**how, "num_warps": metadata.num_warps}
    there = tuple(name for name in sm.instructions if name in made.asm["ptx"])
    on_plain_units = without_tensor_cores(made.asm["ttir"], made.asm["ttgir"], there)
    faults = _too_much(metadata, arch)
    if used.spills:
        faults.append(f"it spills registers: {used.spills} bytes are stored to memory and loaded again")
    faults += on_plain_units
    fits = metadata.shared <= sm.block_shared_bytes
    known = fits and used.registers is not None
    full = occupancy(arch, metadata.num_warps, used.registers or 0, metadata.shared) if known else None
    return CompiledVariant(
        launch.name,
        launch.says,
        compiled=True,
        registers=used.registers,
        spill_bytes=used.spills,
        shared_bytes=metadata.shared,
        instructions=there,
        multiplies=tuple(dict.fromkeys(product.dtype for product in products(made.asm["ttir"]))),
        tensor_core=bool(there) and not on_plain_units,
        occupancy=full.share if full else None if fits else 0.0,
        limited_by=full.limited_by if full else None if fits else "shared memory",
        faults=tuple(faults),
        untold=used.why,
        **how,
    )


def _too_much(metadata: Any, arch: str) -> list[str]:
    sm = MULTIPROCESSORS[arch]
    faults = []
    if metadata.shared > sm.block_shared_bytes:
        limit = f"above the limit of {sm.block_shared_bytes:,} of {arch}"
        faults.append(f"it needs {metadata.shared:,} bytes of shared memory, {limit}: it cannot be launched")
    columns = getattr(metadata, "tmem_size", 0) or 0
    if columns > TENSOR_MEMORY_COLUMNS:
        limit = f"above the {TENSOR_MEMORY_COLUMNS} that there are"
        faults.append(f"it needs {columns} columns of tensor memory, {limit}: it cannot be launched")
    return faults


def _grid(grid: Sequence[int]) -> list[str]:
    over = [f"{n:,} programs along axis {axis}" for axis, n in enumerate(grid) if n > GRID[axis]]
    return [f"a launch has {' and '.join(over)}: CUDA takes {GRID[0]:,}, {GRID[1]:,} and {GRID[2]:,}"] if over else []


@dataclass(frozen=True)
class Resources:
    """Registers of a thread, and bytes that are spilled; ``None`` where they are not known, and ``why`` not."""

    registers: int | None
    spills: int | None
    why: str | None = None


def _resources(launch: Launch, made: Any, arch: str) -> Resources:
    """What the machine code says, as far as the tools of this Triton can be asked."""
    try:
        return _as_told(launch, made, arch)
    except (OSError, subprocess.SubprocessError, AttributeError, RuntimeError) as error:
        return Resources(None, None, f"the tools of Triton cannot be asked: {_why(error)}")


def _as_told(launch: Launch, made: Any, arch: str) -> Resources:
    """A stack may be an array; ptxas says which it is."""
    tools = importlib.import_module("triton.knobs").nvidia
    with tempfile.TemporaryDirectory(prefix="attnbench-precheck-") as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(made.asm["cubin"])
        said = _run([tools.cuobjdump.path, "-res-usage", str(file)])
    counts = [(int(registers), int(stack)) for registers, stack in OF_RESOURCES.findall(said)]
    if not counts:
        return Resources(
            None, None, f"cuobjdump {tools.cuobjdump.version} says nothing of registers in words known here"
        )
    registers, stack = (max(numbers) for numbers in zip(*counts, strict=True))
    if stack == 0:
        return Resources(registers, 0)
    spills = OF_SPILLS.findall(_words_of_ptxas(launch, made, arch))
    if not spills:
        return Resources(registers, None, f"ptxas says nothing of spills in words known here, and its stack is {stack}")
    return Resources(registers, sum(int(stores) + int(loads) for stores, loads in spills))


def _words_of_ptxas(launch: Launch, made: Any, arch: str) -> str:
    """What ptxas says where Triton calls it once more, with the same program, the same options and the same PTX."""
    nvidia = importlib.import_module("triton.backends.nvidia.compiler")
    targets = importlib.import_module("triton.backends.compiler")
    backend = nvidia.CUDABackend(targets.GPUTarget("cuda", MULTIPROCESSORS[arch].capability, WARP))
    options = backend.parse_options(dict(launch.options.__dict__))
    usual, said = subprocess.run, []

    def run(command: Sequence[str], **how: Any) -> Any:
        done = usual(command, **how)
        if hasattr(how.get("stderr"), "name"):
            said.append(Path(how["stderr"].name).read_text("utf-8", "replace"))
        return done

    with mock.patch.object(nvidia.subprocess, "run", run):
        backend.make_cubin(made.asm["ptx"], {}, options, MULTIPROCESSORS[arch].capability)
    return "\n".join(said)


def _run(command: list[str]) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS)
    return done.stdout + done.stderr
