"""Tests of attnbench.testing."""
