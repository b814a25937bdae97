"""Two sides, both alive: what A and B are, their processes in pairs, and what the pairs say of them.

Read in this order: ``duo`` (what a side is, and two processes at once), ``twin_state`` (what is known of a cell so
far), ``pair`` (one pair, to a number for each cell), ``pairs`` (pair after pair, until a judge has heard enough),
``revisions`` and ``sides`` (what two names stand for), ``comparison`` (from the plan to the verdicts).
"""
