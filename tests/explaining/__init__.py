"""Saved arrays explained: faults by their names, right outputs within rounding, and what is no input."""
