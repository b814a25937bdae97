"""For a GPU, and looked at without one: ``hopper`` (a kernel), ``exporting``, ``grids``, ``interpreting``."""
