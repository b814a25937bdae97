"""Plain eager attention in NumPy, in the dtype of a case: what rule 2 compares with, and the stock of mutants.

In reading order: ``scores`` and ``attention`` (it, in steps that can be replaced), ``errors`` (what an implementation
answers beside what is true), ``baseline`` (rule 2: no worse than twice the eager one).
"""
