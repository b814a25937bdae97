"""Tools run against each other, live.

In reading order: ``kernel`` (the slowdowns, as a drop-in file), ``cells`` (what is measured), ``ours`` (``ab`` on
them), ``terms`` (which trials count together), ``benches`` and ``tools`` (the others, as their users run them),
``trials`` (all at the same wall time), ``campaign`` (many of ours), ``targets`` (what ``ab`` is meant to hold).
"""
