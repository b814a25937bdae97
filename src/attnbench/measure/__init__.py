"""Measuring, in a worker: how long and how much.

``worker`` is the process (``python -m attnbench.measure.worker``), ``bench`` the cells that it prepares, gates, times
and weighs, ``general`` what every worker can be asked. Rooms: ``clock`` (times, memory, rates), ``anchor`` (fixed
work beside the cells, by which runs are compared), ``audits`` (whether times are those of the work), ``blocks`` (cells
measured beside each other, and under a budget), ``run`` (from a plan to one row for every cell).
"""
