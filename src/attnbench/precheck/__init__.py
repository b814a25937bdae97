"""What can be known of kernels for a GPU without one: compiled, interpreted, watched while they read and write.

In reading order: ``question`` (what is asked), ``rows`` (what is found, as records), ``parts`` (every part asked of
every implementation), ``kernels`` (the part for kernels in Triton, asked of workers), ``machine_rows`` and
``interpreter_rows`` (their answers as rows), ``operations`` (the workers' side), ``triton`` (what workers do),
``shown`` (all of it as text).
"""
