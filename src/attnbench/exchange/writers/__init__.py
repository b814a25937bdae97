"""A run written for other tools.

In reading order: ``saved`` (a run as writers read it), ``benchmark_stats`` (the statistics that pytest-benchmark
keeps), ``pytest_benchmark``, ``asv``, ``github`` and ``junit`` (one format each), ``export`` (which of them is asked
for).
"""
