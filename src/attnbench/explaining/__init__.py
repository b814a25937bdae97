"""Saved arrays explained: is this difference rounding, and if it is not, which other reading of the spec fits it?

In reading order: ``files`` (arrays from files), ``layouts`` (brought into the order of the spec), ``question`` (what
was given, checked), ``judging`` (how much of it rounding explains), ``subject`` (the part that readings are tried on),
``readings`` (which of them explain an output), ``besides`` (layouts, lse and gradients), ``nearer`` (two outputs
compared), ``explanation`` (what is found, in words), ``ask`` (all of it: ``ab.explain``).
"""
