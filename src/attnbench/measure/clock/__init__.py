"""Clocks and gauges.

In reading order: ``receipts`` (what else the machine did), ``gpu`` (gauges of a GPU), ``clock`` (bursts of calls),
``outside`` (the parent's clock against the worker's), ``memory`` (one call's peak on an accelerator; on a CPU see
``workers.weighing``), ``ceilings`` (how fast this machine is), ``roofline`` (what a case needs at least), ``named``
(the rooflines of GPUs that are not here), ``floors`` (below which time no right method can be).
"""
