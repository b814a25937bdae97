"""Tests of attnbench.ablate."""
