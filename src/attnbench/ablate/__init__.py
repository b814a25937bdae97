"""What the ablation suites share: draws, diagnostics, the probe, statistics over seeds, claims and their verdicts.

Pure NumPy and scipy; a framework is reached only through the probe that a suite is given.
"""
