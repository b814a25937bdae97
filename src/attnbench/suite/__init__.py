"""A suite: a question, the cells that answer it, and what is said of them. A cell is what one worker measures.

A suite is of one of two kinds. A *timed* one (``TimedSuite``) asks about time and memory: it makes cases, and calls of
them are measured. An *observed* one (``ObservedSuite``) asks for numbers that an analysis computes: nothing is timed.
What both have in common is ``Suite``; what a suite says is its ``Story``.

In reading order: ``cells`` (what is measured), ``story`` (what a suite says, and its figures), ``kinds`` (the two kinds
of suites), ``declared`` (what is wrong with a declaration, in words).
"""

from attnbench.suite.cells import Cell, Point
from attnbench.suite.kinds import ObservedSuite, Probe, Suite, TimedSuite
from attnbench.suite.story import NOT_JUDGED, Figure, Frame, Story

__all__ = [
    "NOT_JUDGED",
    "Cell",
    "Figure",
    "Frame",
    "ObservedSuite",
    "Point",
    "Probe",
    "Story",
    "Suite",
    "TimedSuite",
]
