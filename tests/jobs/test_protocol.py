"""Messages on the wire: round trip of every kind, refusal of everything else."""

from __future__ import annotations

import pytest

from csd_addon import protocol

MESSAGES = [
    protocol.Hello(versions={"python": "3.11"}), protocol.Start("/tmp/Ordner mit Ä", True), protocol.StopAndKeep(),
    protocol.Cancel(), protocol.Shutdown(), protocol.Phase("load", "Loading"),
    protocol.Progress(3, 10, 1.5, {"total": 0.1}, 12.0), protocol.Preview("/a.png"), protocol.Warning("Careful."),
    protocol.Error("disk", "Full.", "trace\nback"), protocol.Cancelled(4), protocol.Done({"a": "b"}, {"x": [1, None]}),
]  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_round_trip_on_one_line(message: protocol.Message) -> None:
    line = protocol.encode(message)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert protocol.decode(line) == message


def test_every_message_is_covered() -> None:
    assert {type(m) for m in MESSAGES} == set(protocol.Message.__args__)


@pytest.mark.parametrize(
    "line", [b"", b"hello", b"[]", b"null", b'{"type": "dance"}', b'{"iteration": 1}', b"\xff\xfe", b'{"type":["x"]}',
             b'{"type":"phase"}', b'{"type":"phase","name":"a","colour":"red"}'],
)  # fmt: skip
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(protocol.ProtocolError):
        protocol.decode(line)


def test_numbers_that_json_lacks_are_refused() -> None:
    with pytest.raises(ValueError):
        protocol.encode(protocol.Progress(1, 2, float("nan")))


def test_other_version_gets_a_sentence_that_says_what_to_do() -> None:
    assert protocol.version_mismatch(protocol.PROTOCOL_VERSION) is None
    assert "reinstall the runtime" in protocol.version_mismatch(protocol.PROTOCOL_VERSION + 1)
