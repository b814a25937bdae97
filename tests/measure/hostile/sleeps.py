"""A file that never comes back from its import, so that its kernels can be known from its text only."""

import time
from typing import Any

from attnbench.api import Capabilities, implementation

time.sleep(7777)


@implementation("numpy/sleeps-on-import", Capabilities())
def sleeps(*_: Any) -> Any:
    return None
