"""What a user types: one file for each command, named after it, and ``options``, where every option is declared once.

A command's file is imported to list the commands, so it imports what it needs inside its functions; the files that it
leaves a part of its work to (``ab_output``, ``check_random`` and their kin) are imported when it runs.
"""
