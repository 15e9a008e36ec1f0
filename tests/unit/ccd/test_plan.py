"""What is to change in a client-config-dir."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cuberouted.ccd.plan import Action, Plan, make_plan, stricter
from cuberouted.ccd.text import MARKER, format_client, parse_client
from tests.unit.ccd.samples import CCD, HOSTS, select

NAMES = ("host1", "host2", "host3", "DEFAULT")
PUSH1 = "ifconfig-push 10.100.100.10 255.255.255.0"
PUSH2 = "ifconfig-push 10.100.100.14 255.255.255.0"


def plan(text: str, present: dict[str, bytes | str]) -> Plan:
    return make_plan(select(text), present, CCD, HOSTS)


def apply(made: Plan, present: dict[str, bytes | str]) -> dict[str, bytes | str]:
    after = dict(present)
    for change in made.changes:
        assert after.pop(change.name, None) == change.before
        if change.after is not None:
            after[change.name] = change.after
    return after


hands = st.sampled_from(
    [b"", b"\n", b"iroute 192.168.50.0 255.255.255.0\n", b"disable", b"\r\n# \xff\n", MARKER]
)
ours = st.builds(
    format_client, st.sampled_from([(), (PUSH1,), (PUSH2,), ("ifconfig-push a b",)]), hands
)
files = st.one_of(ours, hands, st.just("is a symbolic link"))
directories = st.dictionaries(st.sampled_from(NAMES), files)
hosts_files = st.dictionaries(
    st.sampled_from(NAMES[:3]), st.integers(10, 50), min_size=1
).map(lambda hosts: "".join(f"10.100.100.{n} {name}\n" for name, n in hosts.items()))  # fmt: skip


@given(hosts_files, directories)
def test_a_second_run_changes_nothing(text, present):
    first = plan(text, present)
    after = apply(first, present)
    second = plan(text, after)
    assert second.changes == ()
    assert set(second.mistakes) == set(first.mistakes)


@given(hosts_files, directories)
def test_what_is_written_by_hand_survives(text, present):
    after = apply(plan(text, present), present)
    for name, content in present.items():
        if isinstance(content, str) or not parse_client(content).ours or name == "DEFAULT":
            assert after[name] == content
        elif name in after:
            kept = after[name]
            assert isinstance(kept, bytes)
            assert parse_client(kept).hand == parse_client(content).hand
        else:
            assert not parse_client(content).hand.strip()


@given(hosts_files, directories)
def test_every_client_gets_its_address_or_a_note_says_why(text, present):
    made = plan(text, present)
    after = apply(made, present)
    noted = {note.file.name for note in (*made.mistakes, *made.warnings)}
    for name, client in select(text).by_name.items():
        if name not in noted:
            content = after[name]
            assert isinstance(content, bytes)
            (push,) = parse_client(content.replace(MARKER, b"")).pushes.values()
            assert push.address == client.hosts[0].address


def test_files_are_created_changed_removed_and_left():
    present: dict[str, bytes | str] = {
        "host1": format_client((PUSH1,), b""),
        "host2": format_client((PUSH1,), b"iroute 192.168.50.0 255.255.255.0\n"),
        "host3": format_client((PUSH2,), b"\n"),
        "host4": format_client(("ifconfig-push 10.100.100.22 255.255.255.0",), b"disable\n"),
        "host5": b"disable\n",
        "DEFAULT": format_client((PUSH1,), b""),
    }
    text = "10.100.100.10 host1\n10.100.100.14 host2\n10.100.100.30 host6\n"
    made = plan(text, present)
    assert (made.mistakes, made.warnings, made.unchanged) == ((), (), 1)
    assert {change.name: change.action for change in made.changes} == {
        "host2": Action.CHANGE,
        "host3": Action.REMOVE,
        "host4": Action.CHANGE,
        "host6": Action.CREATE,
    }
    after = apply(made, present)
    assert after["host2"] == format_client((PUSH2,), b"iroute 192.168.50.0 255.255.255.0\n")
    assert after["host4"] == format_client((), b"disable\n")


def test_a_conflict_with_what_is_written_by_hand_names_both():
    text = "10.100.100.10 host1\n10.100.100.14 host2\n"
    by_hand = b"iroute 192.168.50.0 255.255.255.0\nifconfig-push 10.100.100.14 255.255.255.0\n"
    present: dict[str, bytes | str] = {
        "host1": format_client((PUSH1,), by_hand),
        "host7": by_hand,
        "host8": b"ifconfig-push host8.example.org 255.255.255.0\n",
    }
    assert [str(note) for note in plan(text, present).mistakes] == [
        (
            f"{CCD}/host1:4: `ifconfig-push 10.100.100.14 255.255.255.0` is written by hand,"
            " and /etc/hosts:1 gives host1 10.100.100.10: remove one of them"
        ),
        (
            f"{CCD}/host7:2: `ifconfig-push 10.100.100.14 255.255.255.0` is written by hand,"
            " and /etc/hosts:2 gives 10.100.100.14 to host2: remove one of them"
        ),
    ]


def test_a_file_by_hand_with_the_same_address_is_well_and_one_without_is_told_of():
    assert plan("10.100.100.10 host1\n", {"host1": PUSH1.encode()}).warnings == ()
    made = plan("10.100.100.10 host1\nfd00:100::10 host1\n", {"host1": PUSH1.encode()})
    assert (made.changes, made.mistakes) == ((), ())
    assert [str(note) for note in made.warnings] == [
        (
            f"{CCD}/host1: is written by hand, without ifconfig-ipv6-push: host1 does not"
            " get fd00:100::10 of /etc/hosts:2"
        )
    ]


def test_lines_above_the_marker_are_not_lost():
    content = b"iroute 10.1.0.0 255.255.0.0\n" + format_client((PUSH1,), b"")
    (note,) = plan("10.100.100.10 host1\n", {"host1": content}).mistakes
    assert str(note).startswith(f"{CCD}/host1:1: `iroute 10.1.0.0 255.255.0.0` stands")


def test_what_cannot_be_read_matters_only_for_a_client():
    present: dict[str, bytes | str] = {"host1": "is a symbolic link", "host2": "is a directory"}
    (note,) = plan("10.100.100.10 host1\n", present).mistakes
    assert str(note) == f"{CCD}/host1: is a symbolic link, and is left alone"


def test_a_hosts_file_without_a_client_removes_nothing():
    (note,) = plan("127.0.0.1 localhost\n", {"host1": format_client((PUSH1,), b"")}).mistakes
    assert str(note) == "/etc/hosts: has no client, and 1 would lose their addresses"
    assert plan("127.0.0.1 localhost\n", {"host1": b"disable\n"}).mistakes == ()


def test_a_client_whose_address_has_left_the_subnet_is_told_of_once():
    text = "10.100.10.14 host2\n10.100.100.10 host1\n"
    present: dict[str, bytes | str] = {"host2": format_client((PUSH2,), b"disable\n")}
    made = plan(text, present)
    assert [note.line for note in made.warnings] == [1]
    assert plan(text, apply(made, present)).warnings == ()


def test_strictly_a_host_outside_is_a_mistake():
    text = "10.100.10.14 host2\n10.100.100.10 host1\n"
    made = stricter(plan(text, {}), select(text))
    assert [note.line for note in made.mistakes] == [1]
