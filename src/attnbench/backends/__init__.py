"""Who computes attention, and how one call reaches it.

In reading order: ``implementation`` (one way to compute attention, and what it declares), ``backend`` (a framework's
adapter), ``card`` (what announces it, and its own entry points), ``discover`` (finding all of them), ``asked`` (what a
case asks of one), ``fitted`` (a case made to fit what one declares), ``bind`` (from a case to the one call that is
judged, timed and weighed), ``answers`` (what came back, in NumPy), ``shelf`` (arrays in a file, from one process to
another), ``kept`` (bindings used again), ``execute`` (one call), ``kinds`` (whose arrays they are), ``attend`` (the
Python interface), ``learning`` (training around an implementation).
"""
