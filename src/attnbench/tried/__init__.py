"""What of an implementation has run on a GPU, what passed the precheck, and whether that was about today's code.

In reading order: ``code`` (a name for the code of an implementation), ``record`` (what was seen of it, in a file beside
the code), ``marks`` (the same in a few words), ``keeping`` (writing the file), ``prechecks`` (what a precheck leaves in
it) and ``runs`` (what run folders leave in it).
"""
