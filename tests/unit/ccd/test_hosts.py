"""Reading a hosts file, whatever is in it."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from cuberouted.ccd.clients import select_clients
from cuberouted.ccd.hosts import parse_hosts
from tests.unit.ccd.samples import HOSTS, NET30, SUBNETS

WORDS = (b"10.100.100.10", b"10.100.100.11", b"10.100.100.1", b"fd00:100::10", b"fe80::1%lo",
         b"fd00:100::11%lo", b"host1", b"host2", b"vpnsrvA", b"..", b"#", b"a/b", b"\xff",
         b"DEFAULT")  # fmt: skip
SPACES = (b" ", b"\t", b"\r\n", b"\n")
contents = st.one_of(
    st.binary(),
    st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(SPACES)).map(b"".join)).map(
        b"".join
    ),
)


@given(contents, st.sampled_from([SUBNETS, NET30]), st.booleans())
def test_what_is_made_of_any_content_is_safe(content, subnets, short):
    clients = select_clients(parse_hosts(content, HOSTS), HOSTS, subnets, short=short)
    for note in (*clients.mistakes, *clients.outside.values()):
        assert note.line is not None
        assert 0 < note.line <= content.count(b"\n") + 1
        assert str(note).isprintable()
    if clients.mistakes:
        return
    addresses = [host.address for client in clients.by_name.values() for host in client.hosts]
    assert len(addresses) == len(set(addresses)) == len(clients.by_address)
    assert not subnets.servers.keys() & set(addresses)
    for name, client in clients.by_name.items():
        assert re.fullmatch(r"(?!DEFAULT$)[A-Za-z0-9_@][A-Za-z0-9_.@-]{0,63}", name)
        assert len(client.made) == len(client.hosts)
        assert not any("%" in line for line in client.made)


def test_lines_comments_and_ends():
    text = parse_hosts(b"# x\r\n\n10.0.0.1\ta  b#c\r\n  ::1 c # d\n10.0.0.2 # e", HOSTS)
    assert [(host.line, str(host.address), host.names) for host in text.hosts] == [
        (3, "10.0.0.1", ("a", "b")),
        (4, "::1", ("c",)),
    ]
    assert [str(note) for note in text.mistakes] == ["/etc/hosts:5: 10.0.0.2 has no name"]
