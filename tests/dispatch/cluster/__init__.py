"""Blocks over a cluster of Dask."""
