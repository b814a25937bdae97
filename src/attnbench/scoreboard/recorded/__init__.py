"""Rules on recorded noise.

In reading order: ``corpus`` (the noise of a machine), ``windows`` (what a tool would have measured of it), ``rules``
(how each tool decides), ``replay`` (how often each is right, wrong and silent).
"""
