"""What ``torch.compile`` compiles: ``formula`` and ``flex`` are implementations, ``binding`` compiles them when bound.

Importing it imports no framework: what else they need stands here for the card of the backend.
"""

import sys

from attnbench.api.backends import Program

# Inductor runs what CXX names, else this.
COMPILER = Program(
    "a C++ compiler",
    names=("clang++",) if sys.platform == "darwin" else ("g++",),
    variable="CXX",
    install="xcode-select --install" if sys.platform == "darwin" else "apt install g++",
)
