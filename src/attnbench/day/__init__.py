"""The day of the GPU: what is run on a machine that is at hand for ten minutes, bare and without a network.

``wheels`` brings the packages that such a machine lacks, ``day`` is the script that runs there, ``steps`` says what it
runs in which order, ``ending`` ends a step with all that it has started, and ``packing`` writes the archive.
``fastest`` and ``predictions`` are two of these steps; the latter holds times to floors (``floors``) and kernels to
what was predicted of them (``kernels_seen``), and ``comparison`` says both as text. ``archive`` reads what came back,
and ``account`` says what it tells. The first five are started as files, or imported by these, before attnbench is
installed, and import the standard library alone.
"""
