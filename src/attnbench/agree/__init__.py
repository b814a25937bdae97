"""Agreement: when an implementation is right. Every implementation is held to the float64 oracle, never to another.

Rooms, in reading order: ``eager`` (plain attention in steps, in the dtype of a case), ``judge`` (one answer against its
bounds), ``cases`` (which cases are tried), ``rules`` (what no bound of one element can see), ``check`` (all of it as a
table that can fail), ``declare`` (which arithmetic explains a disagreement), ``diagnose`` (what kind of fault it is),
``mutants`` (planted faults, to show that the check can fail), ``onnx`` (ONNX's operator), ``semantics`` (what native
kernels do by themselves).
"""
