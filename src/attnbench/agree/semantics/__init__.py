"""What native kernels do in the edge cases, by themselves.

In reading order: ``conventions`` (textbook attention and its known variants), ``edges`` (the cases, and the words),
``behaviour`` (a kernel, asked).
"""
