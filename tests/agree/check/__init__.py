"""The plan of boundaries: what it covers, and what it finds."""
