"""What is said of two sides that were measured live.

In reading order: ``output`` (tables and sentences of ``attnbench ab``), ``files`` (its Markdown, JUnit XML and
annotations), ``crossover`` (what ``attnbench crossover`` says, and its JSON document).
"""
