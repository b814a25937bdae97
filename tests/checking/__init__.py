"""Tests of checking in processes."""
