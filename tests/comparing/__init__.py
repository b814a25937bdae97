"""Tests of attnbench.comparing."""
