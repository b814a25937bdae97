"""Suites and cells: a suite is a question, its cells, its analysis and its figures; a cell is what one worker measures.

A suite names typed axes; the harness makes their product and calls ``case(**point)`` (a timed suite) or
``observe(probe, **point)`` (an observed one, such as an ablation). An axis that the function does not read, or reads
under another name, is an error when the suite is defined.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from attnbench.attention.problem import Case
from attnbench.attention.spec import stable_id
from attnbench.errors import UsageError, suggest

if TYPE_CHECKING:
    from attnbench.attention.call import Operands
    from attnbench.attention.spec import AttentionSpec
    from attnbench.backends.implementation import AttentionOutput
    from attnbench.backends.learning import Learner, Model, Optimiser

# What stands in the place of a verdict where only the few levels of a smoke run were measured.
NOT_JUDGED = "not judged: smoke levels"

Point = Mapping[str, Any]
Frame = Any  # a pandas DataFrame; the suites and the harness's core import no pandas


class Probe(Protocol):
    """What an observed suite is given: attention in the backend under study, NumPy in and out."""

    @property
    def implementation(self) -> str:
        """The name of the implementation under study."""

    def attend(self, spec: AttentionSpec, operands: Operands, outputs: tuple[str, ...] = ()) -> AttentionOutput:
        """Forward; the shapes of ``attnbench.attend``."""

    def vjp(self, spec: AttentionSpec, operands: Operands, d_output: Any, d_lse: Any = None) -> dict[str, Any]:
        """Gradients by name (q, k, v, bias, sinks, params.NAME)."""

    def learner(self, model: Model, parameters: Mapping[str, Any], optimiser: Optimiser) -> Learner:
        """A model around the implementation that learns in its framework, from these parameters."""


@dataclass(frozen=True)
class Figure:
    """One figure, as data: what stands on its axes. ``report`` draws it with seaborn from the suite's frame.

    ``kind``: ``line``, ``bar``, ``strip`` or ``heat`` (then ``hue`` is the value in the cells and ``y`` the rows;
    ``x_text`` and ``y_text`` are columns with what is written at a place, where that is not the place itself).
    ``guide`` draws y = factor · x^power as a dashed line with a label: (factor, power, label). ``data`` changes the
    frame before drawing (a filter, a derived column).
    """

    name: str
    title: str
    x: str
    y: str
    hue: str | None = None
    style: str | None = None
    col: str | None = None
    row: str | None = None
    kind: str = "line"
    log_x: bool = False
    log_y: bool = False
    x_label: str | None = None
    y_label: str | None = None
    x_text: str | None = None
    y_text: str | None = None
    guide: tuple[float, float, str] | None = None
    data: Callable[[Frame], Frame] | None = None
    caption: str = ""


@dataclass(frozen=True)
class Suite:
    """A question with its cells, its analysis and its figures.

    ``axes`` maps each axis to its default levels. ``implementations`` are shell patterns. A *timed* suite gives
    ``case(**point)``, which returns a ``Case`` or ``None`` to leave a point out; an *observed* one gives
    ``observe(probe, **point)``, which returns numbers by name, computed alike in every implementation.
    ``findings(frame)`` returns sentences that say what was found, from the frame alone. ``claims(frame)`` returns the
    verdicts on published claims (``attnbench.analysis.claims.ClaimVerdict``), which a report shows as a table: they are
    worked out once in a run, and no finding repeats them. ``limits`` says what the suite does not show. ``cell_s``
    bounds the seconds of bursts for a cell in each replicate, where the default is too long, and ``rounds`` is the
    fewest bursts of a cell in each; ``weigh`` is false where memory is not the question.

    ``beside`` names axes whose levels stand beside each other in a block: points that are equal on all other axes are
    measured interleaved, so that the ratio of two of them is free of the machine's drift
    (``attnbench.analysis.rounds``). Without it a block is one case.

    ``thin`` are rules that keep the default selection small: functions of some axes, true where a point is kept. A
    rule speaks of the suite's own levels, so it falls away once the user chooses levels on an axis that it reads.
    ``refuse(case, impl)`` says why a cell of the suite's own choice is not measured (a row with that reason), or
    ``None``; an implementation that the user names in full is measured all the same. ``devices`` and ``threads`` are
    what the suite is about where the user names none.

    ``tiers`` gives other levels on some axes by the name of a tier: the suite's part in a group of suites such as
    ``ablations-smoke`` (``attnbench.groups``).
    """

    name: str
    question: str
    axes: Mapping[str, tuple[Any, ...]]
    case: Callable[..., Case | None] | None = None
    observe: Callable[..., Mapping[str, float]] | None = None
    implementations: tuple[str, ...] = ("*",)
    figures: tuple[Figure, ...] = ()
    findings: Callable[[Frame], list[str]] | None = None
    claims: Callable[[Frame], list[Any]] | None = None
    method: str = ""
    limits: str = ""
    cell_s: float | None = None
    thin: tuple[Callable[..., bool], ...] = ()
    refuse: Callable[[Case, str], str | None] | None = None
    devices: tuple[str, ...] = ("cpu",)
    threads: tuple[int, ...] = (1,)
    tiers: Mapping[str, Mapping[str, tuple[Any, ...]]] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    rounds: int | None = None
    weigh: bool = True

    def __post_init__(self) -> None:
        if (self.case is None) == (self.observe is None):
            msg = f"suite {self.name!r} gives either case(**point) or observe(probe, **point)"
            raise UsageError(msg)
        read = list(inspect.signature(self.case or self.observe).parameters)  # type: ignore[arg-type]
        expected = read if self.case else read[1:]
        if set(expected) != set(self.axes):
            msg = f"suite {self.name!r} declares the axes {sorted(self.axes)} but reads {sorted(expected)}"
            raise UsageError(msg)
        for tier, levels in self.tiers.items():
            if unknown := [name for name in levels if name not in self.axes]:
                msg = f"suite {self.name!r} has no axis {unknown[0]!r} for its tier {tier!r}"
                raise UsageError(msg)
        self._check_beside()
        for rule in self.thin:
            if unknown := [name for name in _read_by(rule) if name not in self.axes]:
                msg = f"suite {self.name!r} has no axis {unknown[0]!r} for its rule of thinning to read"
                raise UsageError(msg)

    def _check_beside(self) -> None:
        if self.beside and self.observe is not None:
            msg = f"suite {self.name!r} is observed, not timed: none of its axes stands beside another in a block"
            raise UsageError(msg)
        if unknown := [name for name in self.beside if name not in self.axes]:
            msg = f"suite {self.name!r} has no axis {unknown[0]!r} to stand beside each other; it has "
            raise UsageError(msg + ", ".join(self.axes) + suggest(unknown[0], self.axes))

    def block_of(self, point: Point, device: str, threads: int) -> str:
        """The block that a point is measured in, where ``beside`` says so; empty where its case alone does."""
        if not self.beside:
            return ""
        rest = {axis: level for axis, level in point.items() if axis not in self.beside}
        return stable_id([self.name, "beside", rest, device, threads])

    @property
    def timed(self) -> bool:
        """Whether its cells are timed; observed otherwise."""
        return self.case is not None

    def with_axes(self, levels: Mapping[str, Sequence[Any]]) -> Suite:
        """The same suite with other levels on some axes; an unknown axis is an error."""
        for name in levels:
            if name not in self.axes:
                msg = f"suite {self.name!r} has no axis {name!r}; it has {', '.join(self.axes)}"
                raise UsageError(msg + suggest(name, self.axes))
        kept = tuple(rule for rule in self.thin if not set(_read_by(rule)) & set(levels))
        return replace(self, axes={**self.axes, **{name: tuple(values) for name, values in levels.items()}}, thin=kept)

    def points(self) -> Iterator[dict[str, Any]]:
        """The product of the axes as far as the rules of thinning keep it, the last axis fastest."""
        for levels in itertools.product(*self.axes.values()):
            point = dict(zip(self.axes, levels, strict=True))
            if all(rule(**{name: point[name] for name in _read_by(rule)}) for rule in self.thin):
                yield point

    def judged(self, frame: Frame) -> list[dict[str, Any]]:
        """The rows of its verdicts on published claims (``ClaimVerdict.row``); none where it speaks of no claim.

        The smoke tier shows that everything works: where no axis has a level beyond that tier's, the rows have
        ``NOT_JUDGED`` in the place of a verdict, and no p.
        """
        if self.claims is None:
            return []
        rows: list[dict[str, Any]] = [one.row() for one in self.claims(frame)]
        smoke = self.tiers.get("smoke", {})
        names = {axis: f"point.{axis}" for axis in smoke if f"point.{axis}" in frame}
        if not smoke or not all(set(frame[name]) <= set(smoke[axis]) for axis, name in names.items()):
            return rows
        return [{**row, "p": None, "verdict": NOT_JUDGED} for row in rows]

    def cases(self) -> Iterator[tuple[dict[str, Any], Case | None]]:
        """Every (point, case) of the suite; the case is ``None`` in an observed suite."""
        for point in self.points():
            if self.case is None:
                yield point, None
            elif (case := self.case(**point)) is not None:
                yield point, case


def _read_by(rule: Callable[..., bool]) -> tuple[str, ...]:
    return tuple(inspect.signature(rule).parameters)


@dataclass(frozen=True)
class Cell:
    """Case × implementation × device × threads: what one worker measures, and one row of the results.

    ``case`` is ``None`` in an observed suite, whose ``point`` says all. ``block`` names the block where its suite lets
    several cases stand beside each other (``Suite.beside``).
    """

    suite: str
    point: Point
    case: Case | None
    impl: str
    device: str = "cpu"
    threads: int = 1
    files: tuple[str, ...] = field(default=(), compare=False)
    block: str = field(default="", compare=False)

    @property
    def backend(self) -> str:
        """The backend's name."""
        return self.impl.partition("/")[0]

    @property
    def case_id(self) -> str:
        """A stable name of the case (of suite and point where there is none)."""
        return self.case.id if self.case else stable_id([self.suite, dict(self.point)])

    @property
    def block_id(self) -> str:
        """A stable name of the block: the cells to be compared with each other, whatever their implementation."""
        return self.block or self._block_of_case

    @property
    def shares_block(self) -> bool:
        """Whether other cases may stand beside its own in its block."""
        return self.block_id != self._block_of_case

    @property
    def _block_of_case(self) -> str:
        return stable_id([self.suite, self.case_id, self.device, self.threads])

    @property
    def id(self) -> str:
        """A stable name of the cell."""
        return stable_id([self.suite, self.case_id, self.impl, self.device, self.threads])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, for the worker's protocol."""
        case = self.case.to_dict() if self.case else None
        own = {"suite": self.suite, "point": dict(self.point), "case": case, "impl": self.impl}
        return own | {"device": self.device, "threads": self.threads, "files": list(self.files), "block": self.block}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Cell:
        """The inverse of ``to_dict``."""
        case = Case.from_dict(data["case"]) if data["case"] else None
        where = data["device"], data["threads"], tuple(data["files"]), data.get("block", "")
        return cls(data["suite"], data["point"], case, data["impl"], *where)
