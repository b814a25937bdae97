"""Tests of the core: spec, problem, call, inputs, oracle."""
