"""What one multiprocessor (SM) of a GPU holds, and how much of it a kernel can fill.

The limits are those of NVIDIA's CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"
(https://docs.nvidia.com/cuda/cuda-c-programming-guide/#features-and-technical-specifications), and of its Ampere,
Hopper and Blackwell Tuning Guides, section "Occupancy". How registers and shared memory are handed out is that of
NVIDIA's occupancy calculator (``cuda_occupancy.h`` of the CUDA Toolkit).
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
WARP = 32  # threads
THREADS_IN_A_BLOCK = 1024
REGISTER_UNIT = 256  # registers are handed to a warp in such portions
SHARED_UNIT = 128  # bytes of shared memory are handed to a block in such portions
RESERVED = KIB  # bytes of shared memory that the system takes of every block, from compute capability 8.0 on
QUARTERS = 4  # parts of a multiprocessor, each with a quarter of the registers; a block's warps go round them
TENSOR_MEMORY_COLUMNS = 512  # of sm_100, where the results of tcgen05 stand
GRID = (2**31 - 1, 65535, 65535)  # programs along the three axes of a grid
FULLEST = "warps"


@dataclass(frozen=True)
class Multiprocessor:
    """Its limits: registers, warps and blocks that it holds at once, and bytes of shared memory, its own and a block's.

    ``instructions`` are those of PTX that multiply matrices by tensor cores.
    """

    capability: int
    shared_bytes: int
    block_shared_bytes: int
    instructions: tuple[str, ...]
    registers: int = 65536
    warps: int = 64
    blocks: int = 32


MULTIPROCESSORS = {
    "sm_80": Multiprocessor(80, 164 * KIB, 163 * KIB, ("mma.sync",)),
    "sm_90": Multiprocessor(90, 228 * KIB, 227 * KIB, ("wgmma.mma_async", "mma.sync")),
    "sm_100": Multiprocessor(100, 228 * KIB, 227 * KIB, ("tcgen05.mma", "mma.sync")),
}


@dataclass(frozen=True)
class Occupancy:
    """The share of the warps of a multiprocessor that are there at once, and what keeps it from more."""

    share: float
    limited_by: str


def occupancy(arch: str, warps: int, registers: int, shared_bytes: int) -> Occupancy:
    """Of blocks of so many warps, with so many registers for each thread and bytes of shared memory for each block."""
    sm = MULTIPROCESSORS[arch]
    held_by = {
        "warps": sm.warps // warps,
        "blocks": sm.blocks,
        "registers": _by_registers(sm, warps, registers),
        "shared memory": sm.shared_bytes // _rounded(shared_bytes + RESERVED, SHARED_UNIT),
    }
    blocks = min(held_by.values())
    limiting = min(held_by, key=lambda name: (held_by[name], name != FULLEST))
    return Occupancy(blocks * warps / sm.warps, limiting)


def _by_registers(sm: Multiprocessor, warps: int, registers: int) -> int:
    of_a_warp = _rounded(max(registers, 1) * WARP, REGISTER_UNIT)
    held = sm.registers // QUARTERS // of_a_warp * QUARTERS
    return held // _rounded(warps, QUARTERS)


def _rounded(number: int, unit: int) -> int:
    return -(-number // unit) * unit
