"""Workloads: the grammar, what a mix becomes, and the answer on both sides of a flip that was planted."""
