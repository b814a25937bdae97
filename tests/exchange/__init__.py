"""Tests of attnbench.exchange."""
