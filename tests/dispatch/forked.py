"""A program that is started often: one process imports it, and a copy of that process runs each command.

The command itself is a few lines that hand their words, folder, environment and open files over, and end as the copy
did, killed ones too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

SERVER = """
    import json, os, socket, sys, traceback

    def served(main):
        taker = socket.socket(socket.AF_UNIX)
        taker.bind(sys.argv[1])
        taker.listen()
        print("ready", flush=True)
        while True:
            asker, _ = taker.accept()
            text, files, _, _ = socket.recv_fds(asker, 1 << 20, 3)
            if not os.fork():
                for number, file in enumerate(files):
                    os.dup2(file, number)
                words, folder, environment = json.loads(text)
                sys.argv[1:] = words
                os.chdir(folder)
                os.environ.clear()
                os.environ.update(environment)
                try:
                    code = main()
                except SystemExit as ended:
                    code = ended.code
                except BaseException:
                    traceback.print_exc()
                    code = 70
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code or 0)
            for file in files:
                os.close(file)
            asker.send(str(os.waitstatus_to_exitcode(os.wait()[1])).encode())
            asker.close()
"""
CLIENT = """
    #!{python} -IS
    import json, os, socket, sys

    asker = socket.socket(socket.AF_UNIX)
    asker.connect({place!r})
    words = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)])
    socket.send_fds(asker, [words.encode()], [0, 1, 2])
    code = int(asker.recv(99))
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)
"""


@contextmanager
def forked(program: str) -> Iterator[str]:
    """The text of a command that runs ``main()`` of ``program``, which was imported once."""
    with tempfile.TemporaryDirectory(prefix="forked-") as folder:
        place = str(Path(folder, "s"))  # short: the name of a socket has at most 107 bytes
        words = [sys.executable, "-c", dedent(SERVER) + dedent(program) + "\nserved(main)\n", place]
        with subprocess.Popen(words, stdout=subprocess.PIPE, env=os.environ) as server:
            try:
                assert server.stdout is not None
                assert server.stdout.readline() == b"ready\n"
                yield dedent(CLIENT).strip().format(python=sys.executable, place=place) + "\n"
            finally:
                server.kill()
