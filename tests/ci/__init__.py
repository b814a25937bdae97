"""Files for CI: what is written, and that it runs."""
