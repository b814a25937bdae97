"""Other tools' formats: saved runs written for pytest-benchmark, asv, GitHub, JUnit and CSV; their files read as runs.

``export.export`` writes, ``importing.import_file`` reads; one module for each format. A cell without a time is in
every one of them, with its status and its reason.
"""
