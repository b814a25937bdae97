"""Tests of attnbench.scoreboard."""
