"""Is this answer right? One case, one implementation, held to the oracle within bounds that are derived.

Start with ``trial``, which puts them together; the parts, in reading order: ``weight_bounds`` (how far weights can be
off), ``alike`` (equal terms, whose roundings do not cancel), ``bounds`` (forward), ``steps`` and ``gradient_bounds``
(backward), ``array`` (one array judged), ``telling`` (whether a bound can fail anything), ``run_once`` (an
implementation run as a trial needs it), ``selection`` (what of a large answer is judged), ``answered`` (one answer
under several declarations), ``arithmetic`` (what an implementation is held to), ``trial`` (one case, whole), ``gate``
(before a cell is timed), ``verify`` (after it was).
"""
