"""A suite: a question, the cells that answer it, and what is said of them. A cell is what one worker measures.

A suite is of one of two kinds. A *timed* one (``TimedSuite``) asks about time and memory: it makes cases, and calls of
them are measured. An *observed* one (``ObservedSuite``) asks for numbers that an analysis computes: nothing is timed.
What both have in common is ``Suite``; what a suite says is its ``Story``.

In reading order: ``cells`` (what is measured), ``story`` (what a suite says, and its figures), ``kinds`` (the two kinds
of suites), ``levels`` (what an axis can be asked), ``axis`` (an axis with that, and what is said of a wrong level),
``written`` (levels as they are typed), ``declared`` (what is wrong with a declaration, in words), ``files`` (suites in
files of one's own).
"""

from attnbench.suite.cells import Cell, Point
from attnbench.suite.kinds import ObservedSuite, Probe, Suite, TimedSuite
from attnbench.suite.levels import (
    DTYPE,
    LENGTH,
    PHASE,
    SHAPE,
    SIZE,
    STEPS,
    UNITS,
    Levels,
    Lists,
    Number,
    OneOf,
    OrNone,
    Spelled,
    Text,
    Whole,
)
from attnbench.suite.story import NOT_JUDGED, Figure, Frame, Story

__all__ = [
    "DTYPE",
    "LENGTH",
    "NOT_JUDGED",
    "PHASE",
    "SHAPE",
    "SIZE",
    "STEPS",
    "UNITS",
    "Cell",
    "Figure",
    "Frame",
    "Levels",
    "Lists",
    "Number",
    "ObservedSuite",
    "OneOf",
    "OrNone",
    "Point",
    "Probe",
    "Spelled",
    "Story",
    "Suite",
    "Text",
    "TimedSuite",
    "Whole",
]
