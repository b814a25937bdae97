"""Tests of workers: sessions that go on when a process was lost."""
