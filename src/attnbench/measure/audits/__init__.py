"""Audits: is the time that a kernel shows under the clock the time that its work takes, and is its answer right there?

Whoever writes a kernel can write anything into the process in which it runs. So nothing here rests on that process:
values are drawn, and answers are judged, by a *judge*, a process that never imports a drop-in file; both travel in
files of shared memory (``backends.shelf``). ``values`` draws what a kernel cannot have seen, ``judging`` is the judge,
``calls`` is what the kernel's process does, ``auditor`` asks both and compares, ``charges`` says what a call took,
``verdict`` what is explained.
"""
