"""Numbers and tables for people and for machines that show them, and nothing of what they are about.

In reading order: ``units`` (numbers for people), ``console`` (text, tables and progress on a terminal), ``markdown``
(tables and text in Markdown), ``junit`` (test results for continuous integration), ``github`` (its workflow commands).
"""
