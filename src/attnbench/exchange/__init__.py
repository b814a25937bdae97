"""Other tools' formats: ``writers`` (a run as theirs), ``readers`` (their file as a run), and ``inprocess``.

``inprocess`` prepares cells for a clock that is not ours, as the module for pytest-benchmark needs them.
"""
