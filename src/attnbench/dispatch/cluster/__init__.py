"""Blocks handed out over a cluster of Dask: the folder of a plan, with somebody who carries it to the machines.

In reading order: ``messages`` (what crosses, as JSON), ``environment`` (which variables reach a measuring process),
``child`` (a program that is started beside a Dask worker and ends with it), ``tasks`` (what a Dask worker is asked to
do), ``about`` (the program that says what a worker is), ``fitting`` (the first block that fits into a worker's memory),
``matching`` (which block goes to whom), ``connection`` (the scheduler, its certificates, and a cluster on this
machine), ``fleet`` (workers that come, are asked, and are lost), ``front`` (blocks out, results in), ``start`` (from
what was typed to a plan with its results).
"""
