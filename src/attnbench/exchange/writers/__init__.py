"""A run written for other tools.

In reading order: ``saved`` (a run as writers read it), ``commits`` (the commit that a run is filed under),
``benchmark_stats`` (the statistics that pytest-benchmark keeps), ``pytest_benchmark``, ``asv``, ``hyperfine``,
``github`` (GitHub's step summary), ``github_action`` (the page of github-action-benchmark) and ``junit`` (one format
each), ``export`` (which of them is asked for).
"""
