"""The parts of ``numpy/blocked``: exact attention tile by tile, on as many threads as the cell asks for.

Read ``crew`` (the threads, and BLAS beside them), ``layout`` (how the work is cut: blocks of heads, pieces of rows and
keys), ``edges`` (which tiles exist, and what of a tile is allowed), ``operands`` (a block of heads as its tiles read
it, with ``cosine`` and, one folder up, ``tile_scores``), ``logits`` (scores, cap, bias and mask of a tile),
``products`` (products of many rows, some at a time, and their sums), ``forward`` and ``backward``.
"""
