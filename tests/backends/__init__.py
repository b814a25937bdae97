"""Binding: once for check, gate, clock and memory, and once for all calls of ``attend`` and ``vjp`` of a kind."""
