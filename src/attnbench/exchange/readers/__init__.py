"""What other tools wrote, read as runs that are labelled as imported.

In reading order: ``opening`` (what lies behind a path: JSON, lines of JSON, text, bytes, a folder), ``foreign`` (what a
reader hands on), ``values`` (times that are none, whole numbers, instants), ``entries`` (entries that may be odd),
``units`` (units as tools write them), ``asv``, ``google_benchmark``, ``pyperf``, ``pytest_benchmark``, ``memray`` and
``github_action`` (one tool each), the room ``programs`` (tools of other languages), ``machine`` (the machine that the
user names), ``importing`` (which of them it is).
"""
