import math

import pytest

from attnbench.workers import protocol
from attnbench.workers.protocol import Burst, Memory, ProtocolError, Reply, Request


def test_a_message_survives_the_line() -> None:
    request = Request(3, "prepare", {"cell": {"impl": "numpy/naive"}})
    reply = Reply(3, "wrong", "too far off", {"error_ratio": math.inf}, 7)
    assert protocol.decode(Request, protocol.encode(request)) == request
    assert protocol.decode(Reply, protocol.encode(reply)) == reply
    assert protocol.encode(reply).count(b"\n") == 1


@pytest.mark.parametrize("line", [b"hello\n", b"[1]\n", b'{"number": 1}\n', b'{"number": 1, "op": "x", "more": 2}\n'])
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="request"):
        protocol.decode(Request, line)


def test_a_value_is_taken_only_from_an_ok_reply_of_its_kind() -> None:
    memory = {"peak_bytes": 5, "source": "VmHWM", "detail": {}}
    assert protocol.value(Memory, Reply(1, "ok", value=memory)).peak_bytes == 5
    with pytest.raises(ProtocolError):
        protocol.value(Memory, Reply(1, "crashed", "gone", memory))
    with pytest.raises(ProtocolError):
        protocol.value(Burst, Reply(1, "ok", value=memory))
    with pytest.raises(ProtocolError, match="Memory"):
        protocol.value(Memory, Reply(1, "ok", value={"peak_bytes": 5}))
