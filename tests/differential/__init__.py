"""Other projects' attention, run in processes of their own, against the naive implementations."""
