"""Tests of measuring: plan, processes, clocks, memory, runs."""
