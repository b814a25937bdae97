"""A run: the plan, its blocks one after the other, and one row for every planned cell.

In reading order: ``choice`` (what a suite measures where nothing is named, and what it leaves out), ``plan`` (suites
become cells and blocks), ``observing`` (cells in which nothing is timed), ``rows`` (what became of a cell), ``rates``
(what this machine can do), ``options`` (what a run is asked, and what it leaves), ``kept`` (what one that goes on has
from before), ``ongoing`` (a run while it goes on), ``resuming`` (one that was broken off), ``run`` (all of it).
"""
