"""What holds for all tests: an interrupt interrupts.

A shell starts what runs in its background with SIGINT ignored, and every process below inherits that. The tests send
it to commands that they start, and these have to hear it.
"""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
