"""What a precheck finds: a row for each implementation, kernel and architecture, and findings about all the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

from attnbench.errors import EXIT_CELLS_FAILED, EXIT_GATE_FAILED, EXIT_NOTHING_MEASURED, EXIT_OK, worst_exit

# ok: what is asked holds. wrong: it does not. unknown: nobody could tell here, and the reason says why. lost: the
# process ended or hung.
Status = Literal["ok", "wrong", "unknown", "lost"]
NUMERICS, MEMORY = "numerics", "memory"
EXITS = {"ok": EXIT_OK, "wrong": EXIT_GATE_FAILED, "lost": EXIT_CELLS_FAILED}


@dataclass(frozen=True)
class KernelRow:
    """One kernel of one implementation, as machine code for one architecture.

    A kernel is compiled once for every kind of arguments that it was launched with (``variants`` of them); the numbers
    are the worst of all. ``None`` where a number is not known. ``tensor_core``: every variant that multiplies matrices
    in 16 bits has tensor-core instructions, which ``instructions`` names. ``occupancy`` is the share of the warps that
    one multiprocessor can hold at once, and ``limited_by`` what bounds it. ``faults`` says what is wrong, each with
    the variant that shows it.
    """

    impl: str
    kernel: str | None
    arch: str | None
    status: Status
    compiled: bool
    reason: str | None = None
    registers: int | None = None
    spill_bytes: int | None = None
    shared_bytes: int | None = None
    tensor_core: bool = False
    instructions: tuple[str, ...] = ()
    occupancy: float | None = None
    limited_by: str | None = None
    num_warps: int | None = None
    num_stages: int | None = None
    variants: int = 0
    variant: str | None = None
    faults: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of ``to_dict``."""
        return cls(**_fields(cls, data, "instructions", "faults"))


@dataclass(frozen=True)
class PartRow:
    """What one part of a precheck says of an implementation, such as ``numerics``, ``memory`` or ``lowers``.

    ``subject`` is what it is about (a kernel, a feature, a case), ``detail`` has its numbers by name.
    """

    impl: str
    part: str
    status: Status
    subject: str | None = None
    reason: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of ``to_dict``."""
        return cls(**_fields(cls, data))


PrecheckRow = KernelRow | PartRow


def _fields(kind: type[KernelRow | PartRow], data: Mapping[str, Any], *tuples: str) -> dict[str, Any]:
    """The fields of a record; an older or newer reader leaves out what it does not know."""
    known = {known.name for known in fields(kind)}
    return {name: tuple(value) if name in tuples else value for name, value in data.items() if name in known}


@dataclass(frozen=True)
class Prechecked:
    """All that was found: machine code in ``rows``, the rest in ``parts``."""

    rows: Sequence[KernelRow]
    parts: Sequence[PartRow]

    @classmethod
    def of(cls, several: Sequence[PrecheckRow]) -> Prechecked:
        """Both kinds apart, in their order."""
        kernels = [row for row in several if isinstance(row, KernelRow)]
        return cls(kernels, [row for row in several if isinstance(row, PartRow)])

    @property
    def every(self) -> list[PrecheckRow]:
        """Both kinds."""
        return [*self.rows, *self.parts]

    @property
    def untold(self) -> list[tuple[str, str]]:
        """Of implementations with kernels in Triton, the whole parts that could not be told: names and parts."""
        missing = []
        for impl in dict.fromkeys(row.impl for row in self.rows):
            kernels = [row for row in self.rows if row.impl == impl]
            known = {row.arch for row in kernels if row.status != "unknown"}
            archs = dict.fromkeys(row.arch for row in kernels if row.arch not in known)
            missing += [(impl, f"machine code for {arch}") for arch in archs]
            known_parts = {row.part for row in self.parts if row.impl == impl and row.status != "unknown"}
            missing += [(impl, part) for part in (NUMERICS, MEMORY) if part not in known_parts]
        return missing

    @property
    def exit_code(self) -> int:
        """1 where something is wrong, 4 where a process was lost, 5 where nothing or a part could not be told, or 0."""
        codes = {EXITS[row.status] for row in self.every if row.status in EXITS}
        return worst_exit(codes | {EXIT_NOTHING_MEASURED} if self.untold or not codes else codes)

    def to_dict(self) -> dict[str, Any]:
        """The document of ``attnbench precheck --json``."""
        document: dict[str, Any] = {"rows": [row.to_dict() for row in self.rows]}
        document["parts"] = [row.to_dict() for row in self.parts]
        document["untold"] = [{"impl": impl, "part": part} for impl, part in self.untold]
        return {**document, "exit_code": self.exit_code}
