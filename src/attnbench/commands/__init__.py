"""What a user types: one file for each command, named after it, and ``options``, where every option is declared once.

``app`` is the program. ``given`` reads what was typed, ``places`` tries the folders that are to be written,
``interrupt`` ends a command early, ``unforeseen`` says what becomes of an exception that nobody foresaw. A command's
file is imported to list the commands, so it imports what it needs inside its functions; the files that it leaves a part
of its work to (``asking`` of ``run``, ``list_shapes`` of ``list``, ``semantics_output``, the room ``checks`` of
``check``, and ``live`` of ``ab`` and ``crossover``) are imported when it runs. The room ``blocks`` has the options of
``dispatch`` and what it says. The commands: ``check``, ``explain``, ``precheck``; ``run``, ``dispatch``, ``report``,
``export``, ``import_``; ``best``; ``ab``, ``crossover``, ``compare``, ``baseline``, ``history``, ``plan``,
``calibrate``; ``list_``, ``doctor``, ``semantics``, ``scoreboard``, ``init_ci``.
"""
