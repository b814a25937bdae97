"""Blocks: cells beside each other, for how long, in which order, and what becomes of each.

In reading order: ``effort`` (how long is enough), ``spending`` (where the wall time goes), ``outcome`` (what becomes of
a cell, and when), ``drawing`` (which processes are audited in full), ``weighed`` (the memory of cells), ``block``
(cells interleaved), ``passes`` (blocks that share processes, again and again), ``forecast`` (what a look takes, before
it is taken), ``budgeted`` (blocks under a budget: a look at each before a second one at any).
"""
