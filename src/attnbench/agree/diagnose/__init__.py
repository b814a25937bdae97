"""A disagreement examined: what kind of fault it shows, with evidence, and the smallest case; unknown, not a guess.

In reading order: ``doctor`` (one run taken apart, and what a diagnosis is), ``readings`` (wrong readings of the spec),
``readings_allowed``, ``readings_measured``, ``readings_numeric`` and ``readings_gradient`` (those of the allowed set,
those whose number a kernel shows, those of arithmetic, those of the backward pass), ``output``, ``gradients``,
``stages`` and ``state`` (which reading explains what was returned), ``kind`` (the diagnosis), ``shrink`` (the smallest
failing case), ``condition`` (which sizes fail), ``examine`` (all of it).
"""
