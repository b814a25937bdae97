"""What ``attnbench check`` tries, and what becomes of it.

In reading order: ``dimensions`` (what a kernel can branch on, in classes), ``covering`` (few rows that hold every pair
of classes), ``plan`` (the cases for what an implementation declares), ``rows`` (a row for each feature and dtype).
"""
