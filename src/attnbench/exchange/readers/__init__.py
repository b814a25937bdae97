"""Files of other tools, read as runs that are labelled as imported.

In reading order: ``foreign`` (what a reader hands on), ``values`` (times that are none, whole numbers, instants),
``asv``, ``google_benchmark``, ``pyperf`` and ``pytest_benchmark`` (one tool each), ``importing`` (which of them it is).
"""
