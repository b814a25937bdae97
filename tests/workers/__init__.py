"""Tests of workers: processes, limits, what they say, and sessions that go on when one was lost."""
