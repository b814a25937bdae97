"""The memory of one call as its programs see it, and what is wrong in how they read and write it.

Every tensor that a kernel is given has a *region* of addresses of its own, 16 TiB from the next one. An address that is
wrong by whatever an index can be wrong by still lies in the region of the tensor that it came from, so that it is known
whose it is. Behind regions stand storages, the real memory, of which several tensors may share one. Each storage has a
*shadow*: which program wrote and read each element last, and whether anybody has written it at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from attnbench.attention.arrays import Array

SLOT_BITS = 44
FIRST_SLOT = 16  # real addresses have 47 bits
PAGE = 4096
FLOAT_POISON, OTHER_POISON = (
    0xFF,
    0xA5,
)  # bytes of memory that was asked for and not yet written: NaN, and a large integer
READ, WRITE, ATOMIC = "read", "write", "atomic"
OUT_OF_BOUNDS, UNINITIALISED, RACE = "out of bounds", "uninitialised", "race"


@dataclass(frozen=True)
class MemoryFault:
    """What is wrong with memory: the kind, in which kernel, of which tensor, and the first element that shows it."""

    kind: str
    kernel: str
    tensor: str
    message: str


@dataclass
class Shadow:
    """What is known of the elements of a storage, by the place of their first byte: the programs that wrote and read.

    A program counts through all launches of a call, from 1 on; 0 is nobody.
    """

    storage: Any
    pointer: int
    size: int
    poison: int | None = None
    is_written_by_others: bool = False
    writer: Array = field(init=False)
    first_reader: Array = field(init=False)
    last_reader: Array = field(init=False)
    atomic: Array = field(init=False)

    def __post_init__(self) -> None:
        names = ("writer", "first_reader", "last_reader", "atomic")
        for name in names:
            setattr(self, name, np.zeros(self.size if self.pointer else 0, np.int64))


@dataclass(frozen=True)
class Region:
    """The addresses of one tensor. ``elements`` says at which bytes of its storage an element of it begins or goes on.

    Of a tensor without memory ``elements`` is ``None``: all that its storage would have is its own.
    """

    name: str
    base: int
    shadow: Shadow
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    start: int
    width: int
    elements: Array | None

    def index(self, offset: int) -> str:
        """The index of the element at this byte of the storage, where there is one; else where the byte is."""
        place, index = offset - self.start, [0] * len(self.shape)
        before, behind = self.beyond(offset)
        if before:
            return f"{_elements_of(before // self.width)} before its first one"
        if behind:
            return f"{_elements_of(behind // self.width)} behind its last one"
        rest = place // self.width
        for axis in sorted(range(len(self.shape)), key=lambda axis: -self.strides[axis]):
            if self.strides[axis]:
                index[axis] = min(rest // self.strides[axis], self.shape[axis] - 1)
                rest -= index[axis] * self.strides[axis]
        inside = "" if rest == 0 else f", {_elements_of(rest)} further, between its own"
        return f"index ({', '.join(map(str, index))}){inside}"

    def beyond(self, offset: int) -> tuple[int, int]:
        """By how many bytes a byte of the storage lies before the first element, and behind the last one."""
        place = offset - self.start
        extent = sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True)) * self.width
        return max(-place, 0), max(place - extent, 0)


def _elements_of(count: int) -> str:
    return f"{count} element{'s' if count != 1 else ''}"


class Regions:
    """The regions of one call, and the faults that were seen."""

    def __init__(self, instead: Callable[[Any], Any] = lambda storage: storage) -> None:
        self._instead = instead  # a storage with values, where PyTorch's has no memory
        self.farthest = 0  # the largest number of an element that was read or written
        self.outside = 0  # how many elements out of bounds the farthest fault is
        self.faults: dict[tuple[str, str, str], MemoryFault] = {}
        self.counts: dict[tuple[str, str, str], int] = {}
        self.uses_atomics = self.synchronises = False
        self.naming = ""
        self.kernel = ""
        self.program = 0
        self._launch = 0
        self._known: set[int] = set()  # the running program, and those whose work it may rely on
        self._met: dict[int, set[int]] = {}  # by the address of a counter: the programs that have been there
        self._grid_index: tuple[int, ...] = ()
        self._shadows: dict[int, Shadow] = {}
        self._regions: list[Region] = []
        self._by_geometry: dict[Any, Region] = {}

    def launching(self, kernel: str) -> None:
        """A launch begins: what earlier ones have done is done."""
        self.kernel, self._launch = kernel, self.program

    def running(self, grid_index: tuple[int, ...]) -> None:
        """The next program begins."""
        self.program += 1
        self._grid_index = grid_index
        self._known = {self.program}

    def meets(self, address: int) -> None:
        """An atomic operation that orders memory: whoever came here before is done with what it had to write.

        So the last program of a row to arrive at a counter may combine what the others have left.
        """
        self._known |= self._met.get(address, set())
        self._met[address] = set(self._known)

    def poisoned(self, tensor: Any) -> None:
        """Memory was asked for, and holds nothing: it is filled with what shows."""
        import ctypes

        if not tensor.untyped_storage().data_ptr():
            return
        shadow = self._shadow(tensor)
        is_bool = str(tensor.dtype) == "torch.bool"
        shadow.poison = FLOAT_POISON if tensor.dtype.is_floating_point else int(is_bool) or OTHER_POISON
        ctypes.memset(shadow.pointer, shadow.poison, shadow.size)

    def address(self, tensor: Any, name: str) -> int:
        """The address of the first element of a tensor, as its programs see it."""
        shadow = self._shadow(tensor)
        width = tensor.element_size()
        start = tensor.storage_offset() * width
        shape, strides = tuple(tensor.shape), tuple(tensor.stride())
        key = (id(shadow), start, shape, strides, width, name)
        if key not in self._by_geometry:
            slot = FIRST_SLOT + len(self._regions)
            base = (slot << SLOT_BITS) + (1 << (SLOT_BITS - 1)) + shadow.pointer % PAGE
            elements = _elements(shadow.size, start, shape, strides, width) if shadow.pointer else None
            region = Region(name, base, shadow, shape, strides, start, width, elements)
            self._regions.append(region)
            self._by_geometry[key] = region
        region = self._by_geometry[key]
        return region.base + int(start)

    def _shadow(self, tensor: Any) -> Shadow:
        storage = self._instead(tensor.untyped_storage())
        key = storage._cdata  # noqa: SLF001  (what tells storages apart that have no memory)
        if key not in self._shadows:
            self._shadows[key] = Shadow(storage, storage.data_ptr(), storage.nbytes())
        return self._shadows[key]

    def written_by_others(self, tensor: Any) -> None:
        """PyTorch itself writes to a tensor, or to a part of it."""
        key = tensor.untyped_storage()._cdata  # noqa: SLF001  (the same)
        if key in self._shadows:
            self._shadows[key].is_written_by_others = True

    def access(self, addresses: Array, active: Array, width: int, how: str) -> tuple[Array, Array]:
        """Real addresses, and which of them may be used; what is wrong with the others is kept."""
        flat, wanted = np.broadcast_arrays(addresses, active)
        real, usable = np.array(flat, np.uint64), np.array(wanted, bool)
        slots = real >> np.uint64(SLOT_BITS)
        for slot in np.unique(slots[usable]):
            these = usable & (slots == slot)
            number = int(slot) - FIRST_SLOT
            if not 0 <= number < len(self._regions):
                usable &= ~these
                if not self._is_real(real[these]):
                    what = f"program {self._grid_index} {_verb(how)} an address that belongs to no tensor it was given"
                    self._add(OUT_OF_BOUNDS, "none", what, int(these.sum()))
                else:
                    usable |= these
                continue
            region = self._regions[number]
            offsets = real[these].astype(np.int64) - region.base
            good = self._within(region, offsets, width, how)
            self.farthest = max(self.farthest, int(offsets[good].max(initial=0)) // width)
            if region.shadow.pointer:
                self._mark(region, offsets[good], how)
            usable[these] = good & bool(region.shadow.pointer)
            real[these] = np.where(good, offsets + region.shadow.pointer, 0).astype(np.uint64)
        return real, usable

    def _is_real(self, addresses: Array) -> bool:
        """Whether these are addresses that a tensor of this call holds itself, such as a table of pointers."""
        shadows = [shadow for shadow in self._shadows.values() if shadow.pointer]
        inside = np.zeros(len(addresses), bool)
        for shadow in shadows:
            inside |= (addresses >= shadow.pointer) & (addresses < shadow.pointer + shadow.size)
        return bool(inside.all())

    def _within(self, region: Region, offsets: Array, width: int, how: str) -> Array:
        good: Array = (offsets >= 0) & (offsets <= region.shadow.size - width)
        if region.elements is not None:
            good[good] &= region.elements[offsets[good]] & region.elements[offsets[good] + width - 1]
        if not good.all():
            first = int(offsets[~good][0])
            self.outside = max(self.outside, *(abs(int(edge)) // width for edge in region.beyond(first)))
            where = region.index(first)
            what = f"program {self._grid_index} {_verb(how)} {region.name} {_shape(region)} at {where}"
            self._add(OUT_OF_BOUNDS, region.name, what, int((~good).sum()), READ if how == READ else WRITE)
        return good

    def _mark(self, region: Region, offsets: Array, how: str) -> None:
        """Who reads and writes what, and whether another program of the same launch did."""
        shadow, program, known = region.shadow, self.program, list(self._known)

        def others(by: Array) -> Array:
            clashing: Array = by[offsets] > self._launch
            clashing &= (by[offsets] != program) if len(known) <= 1 else ~np.isin(by[offsets], known)
            return clashing

        clash = others(shadow.writer)
        if how != ATOMIC:
            clash |= others(shadow.atomic)
        if how == WRITE:
            clash |= others(shadow.first_reader) | others(shadow.last_reader)
        if clash.any():
            self._add_race(region, int(offsets[clash][0]), how, int(clash.sum()))
        if how == READ:
            new = offsets[shadow.first_reader[offsets] <= self._launch]
            shadow.first_reader[new] = program
            shadow.last_reader[offsets] = program
        elif how == WRITE:
            shadow.writer[offsets] = program
        else:
            shadow.atomic[offsets] = program

    def _add_race(self, region: Region, offset: int, how: str, count: int) -> None:
        written = region.shadow.writer[offset] > self._launch and region.shadow.writer[offset] != self.program
        before = "writes" if written else "adds to" if region.shadow.atomic[offset] > self._launch else "reads"
        what = f"two programs of one launch use {region.name} {_shape(region)} at {region.index(offset)}"
        self._add(RACE, region.name, f"{what}: one {before} it and program {self._grid_index} {_verb(how)} it", count)

    def stored_twice(self, addresses: Array, values: Array, active: Array) -> None:
        """One store with two values for one address: which of them stays is left to chance."""
        flat, value, wanted = (array.ravel() for array in np.broadcast_arrays(addresses, values, active))
        flat, value = flat[wanted], value[wanted]
        order = np.argsort(flat, kind="stable")
        flat, value = flat[order], value[order]
        unlike = (flat[1:] == flat[:-1]) & (_bits(value[1:]) != _bits(value[:-1]))
        if unlike.any():
            region = self._region_of(int(flat[1:][unlike][0]))
            if region is not None:
                where = region.index(int(flat[1:][unlike][0]) - region.base)
                what = (
                    f"program {self._grid_index} stores two values at once to {region.name} {_shape(region)} at {where}"
                )
                self._add(RACE, region.name, what, int(unlike.sum()))

    def _region_of(self, address: int) -> Region | None:
        number = (address >> SLOT_BITS) - FIRST_SLOT
        return self._regions[number] if 0 <= number < len(self._regions) else None

    def initialised(self, addresses: Array, usable: Array, loaded: Array) -> None:
        """Whether somebody has written what was read: of memory that was asked for, what is still as it was filled.

        One byte may be the poison by itself, and so may True. Of such memory it counts that no program has written it,
        unless PyTorch has written to any of it.
        """
        flat, wanted, value = np.broadcast_arrays(addresses, usable, loaded)
        if not wanted.any():
            return
        bits = _bits(value)
        for slot in np.unique(flat[wanted] >> np.uint64(SLOT_BITS)):
            region = self._region_of(int(slot) << SLOT_BITS)
            if region is None or region.shadow.poison is None:
                continue
            these = wanted & (flat >> np.uint64(SLOT_BITS) == slot)
            offsets = flat[these].astype(np.int64) - region.base
            # An atomic operation that asks now is no earlier one.
            untouched = (region.shadow.writer[offsets] == 0) & np.isin(region.shadow.atomic[offsets], (0, self.program))
            poison = int.from_bytes(bytes([region.shadow.poison]) * bits.dtype.itemsize, "little")
            if region.width > 1:
                unwritten = untouched & (bits[these] == poison)
            else:
                unwritten = untouched & (not region.shadow.is_written_by_others)
            if unwritten.any():
                where = region.index(int(offsets[unwritten][0]))
                what = f"program {self._grid_index} reads {region.name} {_shape(region)} at {where}, which nobody wrote"
                self._add(UNINITIALISED, region.name, what, int(unwritten.sum()))

    def _add(self, kind: str, tensor: str, message: str, count: int, detail: str = "") -> None:
        key = (f"{kind} {detail}".strip(), self.kernel, tensor)
        self.faults.setdefault(key, MemoryFault(key[0], self.kernel, tensor, message))
        self.counts[key] = self.counts.get(key, 0) + count


def _verb(how: str) -> str:
    return {READ: "reads", WRITE: "writes", ATOMIC: "adds to"}[how]


def _shape(region: Region) -> str:
    return f"of shape ({', '.join(map(str, region.shape))})"


def _bits(values: Array) -> Array:
    values = np.ascontiguousarray(values)
    return values.view(np.dtype(f"u{values.dtype.itemsize}"))


def _elements(size: int, start: int, shape: Sequence[int], strides: Sequence[int], width: int) -> Array:
    """At which bytes of a storage an element of the tensor lies."""
    there = np.zeros(size, bool)
    if 0 in shape:
        return there
    steps = (*(stride * width for stride in strides), 1)
    np.lib.stride_tricks.as_strided(there[start:], (*shape, width), steps)[...] = True
    return there
