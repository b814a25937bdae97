"""Tests of the implementations and of the backends' adapters."""
