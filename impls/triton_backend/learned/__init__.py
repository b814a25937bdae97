"""Scores with a hidden layer in Triton: ``additive`` (Bahdanau's score, and Luong's concat), its ``kernels``."""
