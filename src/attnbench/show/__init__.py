"""Numbers and tables for people and for machines that show them, and nothing of what they are about.

Read ``units`` first (numbers for people), then ``markdown`` (tables and text in Markdown), ``junit`` (test results for
continuous integration) and ``github`` (its workflow commands).
"""
