"""Workers: processes that can be lost, and how to go on asking when one was.

A room of its own, since it does not know what it runs: measuring, checking and probing ask through it. Read
``session``; what starts a process and speaks with it is still in ``attnbench.measure`` (``process``, ``protocol``).
"""
