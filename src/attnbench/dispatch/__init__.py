"""Many machines: a run laid out as files, each block measured wherever somebody takes it, and runs made of what comes.

Nothing but files and exit statuses: whatever can start a command on a machine can drive it. In reading order:
``records`` (what stands in the files), ``folder`` (where they are, read and written whole), ``blocks`` (the file that
has all blocks), ``held`` (the code and the versions that workers are held to), ``sending`` (files of one's own, which
travel or are found by their hash), ``needs`` (what a block asks of a machine, and in which order blocks are numbered),
``layout`` (a plan becomes a folder), ``work`` (one block, measured here), ``making`` (a run while it is made of
results), ``placing`` (all of them get their places, or none), ``merge`` (a run for each machine), ``listing`` (what is
done, and by whom). The room ``cluster`` hands the blocks out over Dask.
"""
