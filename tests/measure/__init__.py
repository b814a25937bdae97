"""Tests of measuring: plan, clocks, audits, memory, runs."""
