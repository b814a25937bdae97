"""Launches as machine code: compiled by Triton for one architecture, and what its registers, memory and PTX say."""

from __future__ import annotations

import importlib
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from attnbench.precheck.triton.architectures import GRID, MULTIPROCESSORS, TENSOR_MEMORY_COLUMNS, WARP, occupancy
from attnbench.precheck.triton.launches import Launch

SECONDS = 120.0
NARROW = ("f16", "bf16", "f8")
OF_RESOURCES = re.compile(r"REG:(\d+) STACK:(\d+)")
OF_SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
DOT = re.compile(r"tt\.dot(?:_scaled)? (%[\w#]+), (%[\w#]+)(.*?) : tensor<[\dx]*x(\w+)[^*]*\* tensor<[\dx]*x(\w+)")
CARRIED = re.compile(r"(%[\w#]+) = (?:tt\.trans|tt\.reshape|ttg\.convert_layout|tt\.broadcast) (%[\w#]+)")
WIDENED = re.compile(r"(%[\w#]+) = arith\.extf (%[\w#]+) .*?: tensor<[\dx]*x(\w+)")
LONGEST_REASON = 300
OF_PTXAS = ("ptxas fatal", "ptxas error", "ptxas /tmp")  # how its complaints begin


@dataclass(frozen=True)
class CompiledVariant:
    """One kernel compiled for one kind of arguments. ``multiplies`` has the dtypes of its matrix products."""

    kernel: str
    variant: str
    compiled: bool
    reason: str | None = None
    registers: int | None = None
    spill_bytes: int | None = None
    shared_bytes: int | None = None
    instructions: tuple[str, ...] = ()
    multiplies: tuple[str, ...] = ()
    occupancy: float | None = None
    limited_by: str | None = None
    num_warps: int | None = None
    num_stages: int | None = None
    grid: tuple[int, ...] = ()
    case: str = ""
    choice: int = 0
    faults: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def compiled(launches: Sequence[Launch], arch: str) -> list[CompiledVariant]:
    """Every distinct launch, compiled for one architecture."""
    variants: dict[str, CompiledVariant] = {}
    distinct: dict[tuple[str, int], Launch] = {}
    same = _same_choices(launches)
    for launch in launches:
        distinct.setdefault((launch.key, same[launch.choice]), launch)
    rows = []
    for (key, choice), launch in distinct.items():
        if key not in variants:
            variants[key] = _compiled(launch, arch)
        rows.append(CompiledVariant(**{**asdict(variants[key]), "choice": choice, "case": launch.case}))
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
    registers, spills = _resources(made, arch)
    how = {**how, "num_warps": metadata.num_warps}
    there = tuple(name for name in sm.instructions if name in made.asm["ptx"])
    products = _products(made.asm["ttir"])
    faults = [*_too_much(metadata, arch), *_grid(launch.grid)]
    if spills:
        faults.append(f"it spills registers: {spills} bytes are stored to memory and loaded again")
    faults += _without_tensor_cores(products, there)
    fits = metadata.shared <= sm.block_shared_bytes
    full = occupancy(arch, metadata.num_warps, registers, metadata.shared) if fits else None
    return CompiledVariant(
        launch.name,
        launch.says,
        compiled=True,
        registers=registers,
        spill_bytes=spills,
        shared_bytes=metadata.shared,
        instructions=there,
        multiplies=tuple(dict.fromkeys(product.dtype for product in products)),
        occupancy=full.share if full else 0.0,
        limited_by=full.limited_by if full else "shared memory",
        faults=tuple(faults),
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
class Product:
    """One ``tt.dot``: the dtype that it multiplies in, how exactly, and whether both factors were 16 bits wide."""

    dtype: str
    exact: bool
    widened: bool


def _products(ttir: str) -> list[Product]:
    carried = dict(CARRIED.findall(ttir))
    widened = {name for name, _, dtype in WIDENED.findall(ttir) if dtype.startswith(NARROW)}

    def narrow(name: str) -> bool:
        while name in carried:
            name = carried[name]
        return name in widened

    return [
        Product(a, "tf32" not in rest and "bf16x" not in rest, narrow(left) and narrow(right))
        for left, right, rest, a, _ in DOT.findall(ttir)
    ]


def _without_tensor_cores(products: Sequence[Product], there: Sequence[str]) -> list[str]:
    """Where tensor cores were to be expected and are not used; exact products of float32 have none."""
    if any(product.widened and product.exact for product in products):
        return ["it widens 16-bit matrices to float32 before it multiplies them, and so has no tensor cores there"]
    if there:
        return []
    narrow = sorted({product.dtype for product in products if product.dtype.startswith(NARROW)})
    if narrow:
        return [f"it multiplies matrices of {', '.join(narrow)} without tensor cores"]
    if any(product.dtype == "f32" and not product.exact for product in products):
        return ["it multiplies matrices in TF32 without tensor cores"]
    return []


def _resources(made: Any, arch: str) -> tuple[int, int]:
    """Registers of a thread, and bytes that are spilled. A stack may be an array; ptxas says which it is."""
    binary = made.asm["cubin"]
    with tempfile.TemporaryDirectory(prefix="attnbench-precheck-") as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(binary)
        said = _run([_tool("cuobjdump"), "-res-usage", str(file)])
        counts = [(int(registers), int(stack)) for registers, stack in OF_RESOURCES.findall(said)]
        registers, stack = (max(numbers) for numbers in zip(*counts, strict=True))
        if stack == 0:
            return registers, 0
        ptx = Path(folder) / "kernel.ptx"
        ptx.write_text(made.asm["ptx"], "utf-8")
        tool = "ptxas" if MULTIPROCESSORS[arch].capability < 90 else "ptxas-blackwell"  # noqa: PLR2004  (as Triton does)
        target = re.search(r"\.target (\w+)", made.asm["ptx"])
        name = target[1] if target else arch
        said = _run([_tool(tool), "-v", "--regAllocOptLevel=2", f"--gpu-name={name}", str(ptx), "-o", str(file)])
    return registers, sum(int(stores) + int(loads) for stores, loads in OF_SPILLS.findall(said))


def _run(command: list[str]) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS)
    return done.stdout + done.stderr


def _tool(name: str) -> str:
    """A program that comes with Triton's wheel."""
    nvidia = importlib.import_module("triton.backends.nvidia")
    return str(Path(nvidia.__path__[0]) / "bin" / name)
