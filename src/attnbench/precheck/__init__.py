"""What can be known of kernels for a GPU without one: compiled, interpreted, watched while they read and write.

In reading order: ``question`` (what is asked), ``rows`` (what is found, as records), ``parts`` (every part asked of
every implementation), ``kernels`` (the part for kernels in Triton, asked of workers), ``lowered_rows`` (the part for
frameworks that lower a call for a GPU), ``mosaic_rows`` (the part for kernels of Mosaic GPU), ``machine_rows`` and
``interpreter_rows`` (what Triton's part found, as rows), ``operations`` (the workers' side, with ``lowering`` and
``interpreting``), ``triton`` (what workers do with kernels in Triton), ``grids`` (launches in the cases of a suite),
``shown`` (all of it as text).
"""
