from __future__ import annotations

import contextlib
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.model import (
    DIGEST_BYTES,
    MAX_DIGESTS,
    MAX_REMOTES,
    Advertisement,
    FileKind,
    Fingerprint,
    Kind,
    NodeInfo,
    NodeState,
    Prefix,
)
from cuberouted.peering.messages import (
    MAX_FINGERPRINTS,
    MAX_MESSAGE,
    AnyMessage,
    Direct,
    DisconnectReply,
    DisconnectRequest,
    FactsReply,
    FactsRequest,
    Goodbye,
    Heartbeat,
    IncompatibleVersionError,
    MalformedMessageError,
    MessageError,
    Outcome,
    SnapshotPart,
    Update,
    decode,
    direct_topic,
    encode,
    is_direct_topic,
    is_snapshot_topic,
    snapshot_topic,
)
from cuberouted.service_claim import ServiceClaim, ServicePhase
from tests.unit.peering.samples import client, clients

TOPIC = snapshot_topic(b"\x00\x01\x02\x03\x04\x05\x06\xff")
NETWORK = Prefix.parse("fd00:1::/48")
LONGEST_INFO = NodeInfo(
    state=NodeState.MAINTENANCE,
    by="\N{FULL BLOCK}" * 200,
    since=2**62 - 1,
    until=2**62 - 1,
    reason="\N{FULL BLOCK}" * 500,
    clients=2**31 - 1,
    capacity=2**31 - 1,
    remotes=("\N{FULL BLOCK}" * 300,) * MAX_REMOTES,
)
INFO = msgspec.to_builtins(msgspec.structs.asdict(NodeInfo()))

MESSAGES: list[tuple[bytes, AnyMessage]] = [
    (b"u", Update(node="B", epoch=1, seq=1, advertise=clients(1, 2), withdraw=(NETWORK,))),
    (b"u", Heartbeat(node="B", epoch=2**62 - 1, seq=0, syncing=True)),
    (b"u", Goodbye(node="b-1.office_2", epoch=1, seq=1, restarting=False)),
    (TOPIC, SnapshotPart(node="B", epoch=1, seq=1, index=0, count=2, advertisements=clients(1))),
    *(
        (b"d/vpnsrvA/", Direct(node="B", epoch=1, seq=1, id=b"12345678", body=body))
        for body in (
            DisconnectRequest(client=bytes(range(1, 256)), by="uid 1000 (anna)"),
            DisconnectReply(outcome=Outcome.FAILED, client_ids=(-1, 7), why="no answer"),
            FactsRequest(nonce=bytes(range(16))),
            FactsReply(
                cuberouted="0.1.0",
                received_at=1,
                sent_at=2**61,
                state="up",
                detail="",
                mtu=1500,
                fingerprints=(Fingerprint(FileKind.CCD, "", bytes(32)),),
            ),
        )
    ),
    (b"u", Heartbeat(node="B", epoch=1, seq=0, syncing=False, info=LONGEST_INFO)),
]


@pytest.mark.parametrize(("topic", "message"), MESSAGES)
def test_encoded_messages_decode_to_the_same(topic: bytes, message: AnyMessage) -> None:
    assert decode((topic, encode(message))) == message


@pytest.mark.parametrize(("topic", "message"), MESSAGES)
def test_fields_that_a_later_version_appends_are_ignored(topic: bytes, message: AnyMessage) -> None:
    longer = [*msgspec.msgpack.decode(encode(message)), "new", [1, {"a": 2}]]
    assert decode((topic, msgspec.msgpack.encode(longer))) == message


def test_a_field_appended_to_an_advertisement_is_ignored() -> None:
    fields = msgspec.msgpack.decode(encode(MESSAGES[0][1]))
    fields[5][0].append("new")
    assert decode((b"u", msgspec.msgpack.encode(fields))) == MESSAGES[0][1]


def test_a_heartbeat_without_info_is_that_of_an_active_node() -> None:
    # as the versions before `NodeInfo` send it
    message = decode((b"u", msgspec.msgpack.encode(["h", 1, "B", 1, 1, False])))
    assert message == Heartbeat(node="B", epoch=1, seq=1, syncing=False, info=NodeInfo())


def test_fields_appended_to_an_info_are_ignored_and_missing_ones_are_empty() -> None:
    fields = msgspec.msgpack.decode(encode(Heartbeat(node="B", epoch=1, seq=1, syncing=True)))
    fields[-1] = ["draining", "root", 7, 0, "kernel", 1, 2, [], "new", {"a": 1}]
    message = decode((b"u", msgspec.msgpack.encode(fields)))
    assert isinstance(message, Heartbeat)
    assert message.info == NodeInfo(
        state=NodeState.DRAINING, by="root", since=7, reason="kernel", clients=1, capacity=2
    )
    fields[-1] = ["maintenance"]
    message = decode((b"u", msgspec.msgpack.encode(fields)))
    assert isinstance(message, Heartbeat)
    assert message.info == NodeInfo(state=NodeState.MAINTENANCE)


def test_the_longest_heartbeat_is_far_below_the_limit() -> None:
    assert len(encode(Heartbeat(node="B", epoch=1, seq=0, syncing=False, info=LONGEST_INFO))) < (
        MAX_MESSAGE / 4
    )


@pytest.mark.parametrize(
    "fields",
    [
        ["u", 2, "B", 1, 1, [], []],
        ["u", 2, "B", {"another": "layout"}],
        ["unknown", 7, "B"],
    ],
)
def test_another_major_version_is_reported_with_its_node(fields: list[object]) -> None:
    with pytest.raises(IncompatibleVersionError) as caught:
        decode((b"u", msgspec.msgpack.encode(fields)))
    assert (caught.value.version, caught.value.node) == (fields[1], "B")


def info(**fields: object) -> bytes:
    return msgspec.msgpack.encode(["h", 1, "B", 1, 1, True, [*({**INFO, **fields}).values()]])


def advertised(prefix: object, kind: str = "client", name: bytes = b"n", version: int = 1) -> bytes:
    return msgspec.msgpack.encode(["u", 1, "B", 1, 1, [[prefix, kind, name, version, True]], []])


MALFORMED = {
    "nothing": b"",
    "no message": b"\xc0",
    "unknown tag": msgspec.msgpack.encode(["z", 1, "B", 1, 1]),
    "no node": msgspec.msgpack.encode(["h", 1, "", 1, 1, True]),
    "long node": msgspec.msgpack.encode(["h", 1, "B" * 256, 1, 1, True]),
    "negative epoch": msgspec.msgpack.encode(["h", 1, "B", -1, 1, True]),
    "broken text": b"\x96\xa1h\x01\xa3\xed\xa0\x80\x01\x02\xc3",
    "nested too deep": b"\x98\xa1h\x01\xa1a\x01\x02\xc3" + b"\x91" * 200_000,
    "four thousand million elements": b"\x97\xa1u\x01\xa1a\x01\x02\xdd\xff\xff\xff\xff",
    "host bits": advertised([b"\x0a\x00\x00\x01", 24]),
    "length": advertised([b"\x0a\x00\x00\x01", 33]),
    "IPv6 host length on IPv4": advertised([b"\x0a\x00\x00\x01", 128]),
    "IPv4 host length on IPv6 with bits behind": advertised([b"\xfd" * 16, 32]),
    "address of three bytes": advertised([b"\x0a\x00\x00", 24]),
    "withdrawn host bits": msgspec.msgpack.encode(["u", 1, "B", 1, 1, [], [[b"\x0a\0\0\1", 8]]]),
    "kind": advertised([b"\x0a\x00\x00\x01", 32], kind="king"),
    "version 0": advertised([b"\x0a\x00\x00\x01", 32], version=0),
    "version 2**62": advertised([b"\x0a\x00\x00\x01", 32], version=2**62),
    "name of 513 bytes": advertised([b"\x0a\x00\x00\x01", 32], name=b"n" * 513),
    "unknown state of a node": info(state="asleep"),
    "long reason": info(reason="r" * 501),
    "long name of an administrator": info(by="b" * 201),
    "negative time": info(since=-1),
    "41 remotes": info(remotes=["vpn1 1194 udp"] * 41),
    "no parts": msgspec.msgpack.encode(["s", 1, "B", 1, 1, 0, 0, []]),
    "snapshot on u": encode(MESSAGES[3][1]),
    "an escape sequence for a name": encode(
        Goodbye(node="B\x1b[2J", epoch=1, seq=1, restarting=True)
    ),
    "a name of two lines": encode(Goodbye(node="B\n", epoch=1, seq=1, restarting=True)),
    "too large": encode(Update(node="B", epoch=1, seq=1)) + bytes(MAX_MESSAGE),
}


@pytest.mark.parametrize("payload", MALFORMED.values(), ids=MALFORMED)
def test_invalid_payloads_are_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        decode((b"u", payload))


def direct(id_: object, *body: object) -> bytes:
    return msgspec.msgpack.encode(["d", 1, "B", 1, 1, id_, list(body)])


@pytest.mark.parametrize(
    "payload",
    [
        direct(b"1234567", "disconnect", b"n", "root"),
        direct(b"123456789", "disconnect", b"n", "root"),
        direct(b"12345678", "disconnect", b"", "root"),
        direct(b"12345678", "disconnect", b"n" * 513, "root"),
        direct(b"12345678", "disconnect", b"n", "r" * 201),
        direct(b"12345678", "reboot", b"n"),
        direct(b"12345678", "disconnected", "who knows", [], ""),
        direct(b"12345678", "disconnected", "ended", [-2], ""),
        direct(b"12345678", "disconnected", "ended", [1] * 1001, ""),
        direct(b"12345678", "disconnected", "ended", [1], "w" * 1001),
        direct(b"12345678", "facts?", b"short"),
        direct(b"12345678", "facts", "0.1", 1, -1, "up", "", 1500, []),
        direct(b"12345678", "facts", "0.1", 1, 1, "up", "", 1500, [["shadow", "", b"", ""]]),
        direct(b"12345678", "facts", "0.1", 1, 1, "up", "", 1500, [["ccd", "", b"x" * 160_001]]),
        direct(b"12345678", "facts", "0.1", 1, 1, "up", "", 1500, [["ccd", "", b""]] * 161),
    ],
)
def test_invalid_direct_messages_are_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        decode((b"d/A/", payload))


def test_direct_messages_are_accepted_on_the_topic_of_a_node_only() -> None:
    _, message = MESSAGES[4]
    for topic in (b"u", TOPIC, b"d/", b"d//", b"d/A", b"d/A/B/"):
        with pytest.raises(MalformedMessageError):
            decode((topic, encode(message)))
    with pytest.raises(MalformedMessageError):
        decode((b"d/A/", encode(MESSAGES[1][1])))


def test_no_subscription_to_the_topic_of_one_node_receives_those_of_another() -> None:
    topics = [direct_topic(name) for name in ("a", "ab", "a.b", "a" * 255, "b")]
    assert all(map(is_direct_topic, topics))
    for one in topics:
        assert [other for other in topics if other.startswith(one)] == [one]


@pytest.mark.parametrize("frames", [(b"u",), (b"u", b"", b""), (TOPIC, encode(MESSAGES[1][1]))])
def test_wrong_frames_are_malformed(frames: tuple[bytes, ...]) -> None:
    with pytest.raises(MalformedMessageError):
        decode(frames)


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_raise_message_error(payload: bytes) -> None:
    for topic in (b"u", TOPIC):
        with contextlib.suppress(MessageError):
            decode((topic, payload))


@given(st.sampled_from(MESSAGES), st.data())
def test_a_damaged_message_decodes_or_raises_message_error(
    sample: tuple[bytes, AnyMessage], data: st.DataObject
) -> None:
    payload = bytearray(encode(sample[1]))
    payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MessageError):
        decode((sample[0], bytes(payload)))


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        (TOPIC, True),
        (b"s/" + b"0" * 16, True),
        (b"s/" + b"0" * 15, False),
        (b"s/" + b"0" * 17, False),
        (b"s/" + b"G" * 16, False),
        (b"s/" + b"A" * 16, False),
        (b"s/s/" + b"0" * 14, False),
        (b"u", False),
        (b"", False),
    ],
)
def test_snapshot_topics_are_recognized(topic: bytes, expected: bool) -> None:
    assert is_snapshot_topic(topic) is expected


def test_the_largest_reply_fits_a_message() -> None:
    why = "w" * 300
    fingerprints = [Fingerprint(FileKind.CCD, "n" * 255, bytes(DIGEST_BYTES * MAX_DIGESTS))]
    fingerprints += [Fingerprint(FileKind.CRL, "n" * 50, why=why)] * (MAX_FINGERPRINTS - 1)
    reply = FactsReply(
        cuberouted="v" * 50,
        received_at=2**61,
        sent_at=2**61,
        state="s" * 20,
        detail="d" * 1000,
        mtu=2**31,
        fingerprints=tuple(fingerprints),
    )
    message = Direct(node="B" * 255, epoch=2**61, seq=2**61, id=bytes(8), body=reply)
    assert decode((b"d/A/", encode(message))) == message


def test_twenty_thousand_advertisements_decode_in_some_tens_of_milliseconds() -> None:
    parts = [
        encode(
            SnapshotPart(
                node="B",
                epoch=1,
                seq=1,
                index=i,
                count=40,
                advertisements=clients(*range(500 * i, 500 * i + 500)),
            )
        )
        for i in range(40)
    ]
    started = time.process_time()
    for part in parts:
        decode((TOPIC, part))
    assert time.process_time() - started < 0.2  # measured: 0.015


def test_names_may_hold_any_byte() -> None:
    odd = Advertisement(client(1).prefix, Kind.NETWORK, bytes(range(256)), 2**62 - 1, False)
    message = Update(node="B", epoch=1, seq=1, advertise=(odd,))
    assert decode((b"u", encode(message))) == message


CLAIM = ServiceClaim(ServicePhase.HOLDING, 100, 5, True, "why")
SERVICE = Advertisement(Prefix.parse("10.9.0.9"), Kind.SERVICE, b"db", 1, True, 0, CLAIM)


def test_a_claim_to_a_service_arrives_as_it_was_sent() -> None:
    update = Update(node="B", epoch=1, seq=1, advertise=(SERVICE,))
    assert decode((b"u", encode(update))) == update


@pytest.mark.parametrize(
    ("advertisement", "why"),
    [
        (msgspec.structs.replace(SERVICE, service=None), "kind service without a claim"),
        (msgspec.structs.replace(SERVICE, kind=Kind.CLIENT), "kind client with a claim"),
        (msgspec.structs.replace(SERVICE, kind=Kind.SERVER), "kind server with a claim"),
        (msgspec.structs.replace(SERVICE, prefix=Prefix.parse("10.9.0.0/24")), "a service at"),
        (msgspec.structs.replace(SERVICE, service=ServiceClaim(CLAIM.phase, -1)), "int"),
        (
            msgspec.structs.replace(SERVICE, service=msgspec.structs.replace(CLAIM, why="\x1b[2J")),
            r"a claim with the reason '\\x1b\[2J'",
        ),
    ],
)
def test_a_service_has_one_address_and_a_claim_and_nothing_else_has_one(
    advertisement: Advertisement, why: str
) -> None:
    update = Update(node="B", epoch=1, seq=1, advertise=(advertisement,))
    with pytest.raises(MalformedMessageError, match=why):
        decode((b"u", encode(update)))
    part = SnapshotPart(node="B", epoch=1, seq=1, index=0, count=1, advertisements=(advertisement,))
    with pytest.raises(MalformedMessageError, match=why):
        decode((TOPIC, encode(part)))
