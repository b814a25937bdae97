"""What an implementation would launch in the cases of a suite, on a GPU that is named: grids and waves.

In reading order: ``waves`` (programs over multiprocessors), ``shaped`` (a case as arrays that nobody reads),
``launching`` (the workers' side: what one case launches), ``suite_grids`` (the part that asks for every case),
``grid_table`` (its rows as texts), ``running`` (on a day with a GPU: what Triton says of the kernels that ran).
"""
