"""Tests of the distribution: its contents, its entry points, what it imports and who may import whom."""
