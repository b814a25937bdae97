"""Measuring: the plan of cells, worker processes, clocks, memory, receipts, and the run that puts them together.

Read in this order: ``protocol`` (what parent and worker say to each other), ``clock``, ``memory`` and ``receipts``
(what is read in the worker), ``general``, ``bench`` and ``check_operations`` (what a worker does), ``worker`` (the
measured process, which puts these together), ``process`` (its parent's handle), ``plan``, ``block`` and ``run``.
"""
