"""The two kinds of suites, and what they have in common.

A suite names its axes, each with its levels. The harness makes their product and calls ``case(**point)`` of a timed
suite or ``observe(probe, **point)`` of an observed one. An axis that this function does not read, or reads under
another name, is an error when the suite is defined.
"""

from __future__ import annotations

import fnmatch
import importlib.util
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from attnbench.attention.problem import Case
from attnbench.attention.spec import stable_id
from attnbench.errors import AttnbenchError, MissingExtraError, UsageError, suggest
from attnbench.keywords import explained
from attnbench.suite import declared
from attnbench.suite.axis import AxisLevels
from attnbench.suite.cells import Point
from attnbench.suite.levels import Levels, word_of
from attnbench.suite.story import NOT_JUDGED, Frame, Story

if TYPE_CHECKING:
    from attnbench.attention.call import Operands
    from attnbench.attention.spec import AttentionSpec
    from attnbench.backends.implementation import AttentionOutput
    from attnbench.backends.learning import Learner, Model, Optimiser
    from attnbench.suite.files import SuiteFile


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


@dataclass(frozen=True, kw_only=True)
class Suite(ABC):
    """What every suite has, of whichever kind: its name, its story, and the points and implementations it is about.

    ``axes`` maps each axis to its default levels. ``implementations`` are shell patterns, and ``leaves_out`` are
    patterns of those among them that are not measured unless the user names them, each with the reason in a few words.
    ``devices`` and ``threads`` are what the suite is about where the user names none. ``needs`` maps modules that it
    cannot do without to the extra of attnbench that brings them.

    ``thin`` are rules that keep the default selection small: functions of some axes, true where a point is kept. A
    rule speaks of the suite's own levels, so it falls away once the user chooses levels on an axis that it reads.

    ``tiers`` gives other levels on some axes by the name of a tier: the suite's part in a group of suites such as
    ``ablations-smoke`` (``attnbench.groups``).

    ``levels`` says what an axis can be asked besides: ``Whole(least=1, most=4096)``, ``Number(above=0)``,
    ``OneOf("dot", "additive")``, ``Spelled(reader, "what it reads")``, ``Text()`` for any text. Without it a text axis
    takes its own levels and those of the tiers alone, and an axis of numbers takes numbers (``suite.axis.usual_kind``).
    ``known`` is what every axis takes, worked out from that. ``file`` is where a suite of one's own was loaded from.
    """

    timed: ClassVar[bool]

    name: str
    story: Story
    axes: Mapping[str, tuple[Any, ...]]
    implementations: tuple[str, ...] = ("*",)
    leaves_out: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    thin: tuple[Callable[..., bool], ...] = ()
    devices: tuple[str, ...] = ("cpu",)
    threads: tuple[int, ...] = (1,)
    tiers: Mapping[str, Mapping[str, tuple[Any, ...]]] = field(default_factory=dict)
    levels: Mapping[str, Levels] = field(default_factory=dict)
    known: Mapping[str, AxisLevels] = field(init=False, repr=False, compare=False)
    file: SuiteFile | None = field(default=None, init=False, repr=False, compare=False)

    def __new__(cls, *unnamed: object, **words: object) -> Self:
        """Say where a word belongs that is in the wrong place; the dataclass would only refuse it."""
        name = words.get("name", unnamed[0] if unnamed else "")
        if cls is Suite:
            declared.refuse_no_kind(name)
        declared.check_words(name, words, cls, ObservedSuite if cls.timed else TimedSuite)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        declared.check_story(self.name, self.story)
        declared.check_tuples(self.name, self.axes, implementations=self.implementations, devices=self.devices)
        declared.check_read(self.name, self.axes, self._axes_read())
        declared.check_tiers(self.name, self.axes, self.tiers)
        declared.check_rules(self.name, self.axes, self.thin)
        object.__setattr__(self, "known", declared.known_levels(self.name, self.axes, self.tiers, self.levels))

    @abstractmethod
    def _axes_read(self) -> tuple[str, ...]:
        """The axes that the suite's function reads."""

    @abstractmethod
    def cases(self) -> Iterator[tuple[dict[str, Any], Case | None]]:
        """Every (point, case) of the suite; the case is ``None`` in an observed suite."""

    def why_left_out(self, impl: str) -> str | None:
        """Why an implementation is not measured unless the user names it; ``None`` where it is."""
        for pattern, why in self.leaves_out.items():
            if fnmatch.fnmatchcase(impl, pattern):
                return why
        if any(fnmatch.fnmatchcase(impl, pattern) for pattern in self.implementations):
            return None
        return self._not_about()

    def _not_about(self) -> str:
        return f"the suite is about {', '.join(self.implementations)}"

    def why_lacking(self) -> str | None:
        """Which module the suite needs and does not have here, and what to type; looks, but imports nothing."""
        for module, extra in self.needs.items():
            if importlib.util.find_spec(module) is None:
                return str(MissingExtraError(f"suite {self.name!r}", extra, module))
        return None

    def block_of(self, point: Point, device: str, threads: int) -> str:
        """The block that a point shares with others; empty where it has one of its own."""
        del point, device, threads
        return ""

    def with_axes(self, levels: Mapping[str, Sequence[Any]]) -> Self:
        """The same suite with other levels on some axes. ``UsageError`` for an unknown axis, and for a wrong level."""
        for name in levels:
            if name not in self.axes:
                msg = f"suite {self.name!r} has no axis {name!r}; it has {', '.join(self.axes)}"
                raise UsageError(msg + suggest(name, self.axes))
        checked = {name: self.known[name].check_all(values) for name, values in levels.items()}
        kept = tuple(rule for rule in self.thin if not set(declared.read_by(rule)) & set(levels))
        changed = replace(self, axes={**self.axes, **checked}, thin=kept)
        object.__setattr__(changed, "known", self.known)
        object.__setattr__(changed, "file", self.file)
        return changed

    def read(self, axis: str, *texts: str) -> tuple[Any, ...]:
        """The levels of an axis in texts such as ``128,4Ki``, each once. ``UsageError`` says what the axis takes."""
        return tuple(dict.fromkeys(level for text in texts for level in self.known[axis].read_all(text)))

    def points(self) -> Iterator[dict[str, Any]]:
        """The product of the axes as far as the rules of thinning keep it, the last axis fastest."""
        for levels in itertools.product(*self.axes.values()):
            point = dict(zip(self.axes, levels, strict=True))
            if all(self._ask(rule, point, declared.read_by(rule)) for rule in self.thin):
                yield point

    def _ask(self, function: Callable[..., Any], point: Point, axes: Sequence[str]) -> Any:
        """What a function of the suite says of a point; ``UsageError`` with the levels where it raises."""
        try:
            return function(**{axis: point[axis] for axis in axes})
        except Exception as error:  # a suite's own code
            what = str(error) if isinstance(error, AttnbenchError) else f"{type(error).__name__}: {error}"
            msg = f"suite {self.name!r} can make nothing of {self._levels_at(point)}: {what}{self.place(error)}"
            raise UsageError(msg) from error

    def place(self, error: BaseException) -> str:
        """Where in the suite's own file an error came from, in brackets; empty without a file."""
        place = "" if self.file is None else self.file.place(error)
        return f" ({place})" if place else ""

    def _levels_at(self, point: Point) -> str:
        """The levels of a point that are not the suite's own; all of them where they are."""
        others = {axis: level for axis, level in point.items() if level not in self.known[axis].usual}
        return ", ".join(f"{axis}={word_of(level)}" for axis, level in (others or point).items())

    def judged(self, frame: Frame) -> list[dict[str, Any]]:
        """The rows of its verdicts on published claims (``ClaimVerdict.row``); none where it speaks of no claim.

        The smoke tier shows that everything works: where no axis has a level beyond that tier's, the rows have
        ``NOT_JUDGED`` in the place of a verdict, and no p.
        """
        if self.story.claims is None:
            return []
        rows: list[dict[str, Any]] = [verdict.row() for verdict in self.story.claims(frame)]
        smoke = self.tiers.get("smoke", {})
        columns = {axis: f"point.{axis}" for axis in smoke if f"point.{axis}" in frame}
        if not smoke or not all(set(frame[column]) <= set(smoke[axis]) for axis, column in columns.items()):
            return rows
        return [{**row, "p": None, "verdict": NOT_JUDGED} for row in rows]


@explained
@dataclass(frozen=True, kw_only=True)
class TimedSuite(Suite):
    """A suite that asks how long calls take and how much memory they need.

    ``case(**point)`` returns the ``Case`` of a point, or ``None`` to leave the point out.

    ``beside`` names axes whose levels stand beside each other in a block: points that are equal on all other axes are
    measured interleaved, so that the ratio of two of them is free of the machine's drift
    (``attnbench.analysis.rounds``). Without it a block is one case.

    ``refuse(case, impl)`` says why a cell of the suite's own choice is not measured (a row with that reason), or
    ``None``; an implementation that the user names in full is measured all the same. ``cell_s`` bounds the seconds of
    bursts for a cell in each replicate, where the default is too long, and ``rounds`` is the fewest bursts of a cell
    in each; ``weigh`` is false where memory is not the question, and ``memory_first`` is true where it is: under a
    budget a cell's memory is then measured with its first look.
    """

    timed = True

    case: Callable[..., Case | None]
    beside: tuple[str, ...] = ()
    refuse: Callable[[Case, str], str | None] | None = None
    cell_s: float | None = None
    rounds: int | None = None
    weigh: bool = True
    memory_first: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        declared.check_beside(self.name, self.axes, self.beside)

    def _axes_read(self) -> tuple[str, ...]:
        return declared.read_by(self.case)

    def cases(self) -> Iterator[tuple[dict[str, Any], Case]]:
        """Every point that has a case, with this case."""
        for point in self.points():
            case = self._ask(self.case, point, tuple(point))
            if case is None:
                continue
            if not isinstance(case, Case):
                msg = f"suite {self.name!r} made {case!r} of {self._levels_at(point)}: case() returns a Case, or None"
                raise UsageError(msg)
            yield point, case

    def block_of(self, point: Point, device: str, threads: int) -> str:
        """The block that a point is measured in, where ``beside`` says so; empty where its case alone does."""
        if not self.beside:
            return ""
        rest = {axis: level for axis, level in point.items() if axis not in self.beside}
        return stable_id([self.name, "beside", rest, device, threads])


@explained
@dataclass(frozen=True, kw_only=True)
class ObservedSuite(Suite):
    """A suite that asks for numbers which an analysis computes, such as an ablation; nothing in it is timed.

    ``observe(probe, **point)`` returns these numbers by name, computed alike in every implementation.
    """

    timed = False

    observe: Callable[..., Mapping[str, float]]

    def _axes_read(self) -> tuple[str, ...]:
        return declared.read_by(self.observe)[1:]

    def _not_about(self) -> str:
        return f"it is about arithmetic and not about time, and {', '.join(self.implementations)} shows that"

    def cases(self) -> Iterator[tuple[dict[str, Any], None]]:
        """Every point, without a case."""
        for point in self.points():
            yield point, None
