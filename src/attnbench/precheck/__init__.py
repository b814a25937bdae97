"""What can be known of kernels for a GPU without one: compiled, interpreted, watched while they read and write.

In reading order: ``question`` (what is asked), ``rows`` (what is found, as records), ``parts`` (every part asked of
every implementation), ``kernels`` (the part for kernels in Triton, asked of workers), ``operations`` (the workers'
side), ``shown`` (all of it as text).
"""
