"""What is made of finished rows: tables to compute with, intervals, claims and their verdicts.

In reading order: ``diagnostics`` (numbers of one weight matrix), ``frames`` (tables of a run), ``intervals`` (of means
and ratios), ``rounds`` (ratios within rounds), ``sampled`` (the rounds of a saved run), ``claims`` (published numbers,
``anchors.toml``), ``contrasts`` (with and without), ``leading`` (who is fastest), ``costs`` (times, operations,
fractions of a roofline), ``maps`` (two implementations over two axes), ``judged`` (a run, read and judged once),
``claim_rows`` (``verdicts.parquet``).
"""
