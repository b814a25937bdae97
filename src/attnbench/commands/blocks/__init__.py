"""What ``attnbench dispatch`` is given and what it says.

In reading order: ``options`` (what it alone is given), ``said`` (what was planned, measured, merged and listed, as
text).
"""
