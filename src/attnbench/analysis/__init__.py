"""What is made of a finished run's rows: ``judged`` (read once, judged once), then ``claim_rows`` (its file)."""
