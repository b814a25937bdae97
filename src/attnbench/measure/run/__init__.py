"""A run: the plan, the blocks, and one row for every planned cell.

In reading order: ``plan`` (suites become cells and blocks), ``effort`` (how long is enough), ``spending`` (where the
wall time goes), ``block`` (cells interleaved), ``observing`` (cells in which nothing is timed), ``rows`` (what became
of a cell), ``run`` (all of it).
"""
