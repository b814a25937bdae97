"""Who computes attention, and how one call reaches it.

In reading order: ``bind`` (a case becomes a call that can be made), ``kept`` (bindings that are used again).
"""
