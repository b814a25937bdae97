"""The answer of a run as text: the same sentence, grid and claims as on the first screen of its page.

In reading order: ``gridded`` (a grid that fits its screen, in blocks of columns), ``answer`` (all that stands first).
"""
