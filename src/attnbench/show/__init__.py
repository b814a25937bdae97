"""Numbers and tables for people and for machines that show them, and nothing of what they are about.

In reading order: ``units`` (numbers for people), ``finite`` (what stands for NaN and infinity in JSON), ``table``
(tables as text, for a terminal or a pipe), ``console`` (what a command says, and where), ``progress`` (how far it is),
``markdown`` (tables and text in Markdown), ``junit`` (test results for continuous integration), ``github`` (its
workflow commands), ``svg`` (drawings made small).
"""
