"""What a bound of one element cannot see.

Rule 1, the bounds, is the room ``judge``; rule 2, which compares with eager attention, is ``eager.baseline``.

In reading order: ``bias`` (rule 3: errors have no direction), ``facts`` (a call taken apart), ``probes`` (inputs whose
answer shows by itself what a kernel does), ``probe_rule`` (the probes as a row), ``rows`` (rules as rows of the
table).
"""
