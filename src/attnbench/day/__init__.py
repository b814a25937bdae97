"""The day of the GPU: what is run on a machine that is at hand for ten minutes, bare and without a network.

``wheels`` brings the packages that such a machine lacks, ``day`` is the script that runs there, ``steps`` says what it
runs in which order. ``fastest`` and ``predictions`` are two of these steps; the latter holds times to floors
(``floors``) and kernels to what was predicted of them (``kernels_seen``), and ``comparison`` says both as text.
``archive`` reads what came back. The first three are started as files, before attnbench is installed, and import the
standard library alone.
"""
