"""Tests of attnbench.answers."""
