"""What a reader sees first: which implementation to use, how sure that is, and on what machine.

Everything in it is data, so that a page and a terminal can say the same. In reading order: ``cases`` (what a case is
called, and its command), ``grid`` (a row for each case, a cell for each implementation), ``spread`` (the same as plain
tables), ``advice`` (sentences on each kind of case), ``forest`` (published claims with their intervals on one scale),
``beside`` (two runs of a machine beside each other), ``machines`` and ``side`` (runs of several machines side by side,
and how they are put there), ``conditions`` (machine, noise, date, versions).
"""
