"""Which cases are tried.

In reading order: ``case_text`` (a case as a line that can be typed), ``by_feature`` (cases of each feature of the
spec), ``features`` (which rows of the table a case is evidence for), ``dimensions`` (what a kernel can branch on, in
classes), ``covering`` (few rows that hold every pair of classes), ``sizes``, ``making`` and ``levels`` (a row becomes
a case), ``plan`` (the cases at boundaries for what an implementation declares), ``coverage`` (what was covered),
``random_cases`` (the same classes in random combinations).
"""
