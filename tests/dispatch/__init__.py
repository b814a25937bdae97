"""Blocks as files, measured anywhere, and put together."""
