"""What runs of unchanged code show of a cell: how two of them differ, and how that depends on the machine's speed.

In reading order: ``spread`` (the model, and an interval that rests on it), ``levels`` (the levels of cells in run
folders).
"""
