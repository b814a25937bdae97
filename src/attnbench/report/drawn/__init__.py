"""What figures are drawn with, and the answers as pictures.

In reading order: ``choosing`` (lines, bars or points, and which axes panels share), ``ticks`` (what stands on an axis),
``answers`` (the grid of the first screen and the forest of claims, for files).
"""
