"""What is asked, in the same words from a shell and from Python: runs, agreement, comparisons, and their answers.

A command of ``commands/`` parses what was typed and shows; what it does in between stands here, and ``ab.run``,
``ab.check`` and ``ab.compare`` do the same. Nothing here prints, unless ``quiet=False`` asks for it.

In reading order: ``given`` (words as values), ``shown`` (what every answer has), ``places`` (folders that can be
written), ``serving`` (levels and workloads), ``suite_files`` (suites in files of one's own), ``running`` (from words
to a run), ``runs`` (``ab.run``, ``ab.open_run``); ``agreeing`` (from words to the rows of a check), ``functions`` (a
plain function as an implementation), ``within`` (a check in this process), ``agreements`` (what a check returns),
``agreement`` (``ab.check``), ``checks`` (what a check says); ``comparison`` (``ab.compare``).
"""
