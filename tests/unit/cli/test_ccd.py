"""`cuberouted ccd`, as users type it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cuberouted.ccd.directory import Directory, open_directory
from cuberouted.ccd.text import MARKER
from cuberouted.cli.main import main
from tests.fakes.cli import cli_runner
from tests.openapi.validation import validate

NETWORK = ("--network", "10.100.100.0/24")
PUSH1 = "ifconfig-push 10.100.100.10 255.255.255.0\n"
PUSH2 = "ifconfig-push 10.100.100.14 255.255.255.0\n"
LINE = f"{MARKER.decode()}\n"


def files() -> list[str]:
    return sorted(path.name for path in Path("ccd").iterdir())


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command in a directory with `hosts` and an empty `ccd`."""
    monkeypatch.chdir(tmp_path)
    Path("ccd").mkdir()
    Path("cuberouted.conf").write_text(
        "node = A\ndata_interface = nosuch0\nmgmt_interface = nosuch1\n"
        "remote_mgmt_ip = 10.200.200.5\nremote_data_ip = 10.100.100.101\nroute_protocol = 251\n"
    )

    def invoke(hosts: str, *arguments: str, config: str = "cuberouted.conf"):
        Path("hosts").write_text(hosts)
        found = cli_runner().invoke(main, ["-c", config, "ccd", "hosts", "ccd", *arguments])
        assert found.exception is None or isinstance(found.exception, SystemExit), found.output
        return found

    return invoke


def test_files_are_written_and_a_second_run_has_nothing_to_do(run):
    hosts = "10.100.100.10 host1\n10.100.100.14 host2\n10.1.1.1 other\n"
    first = run(hosts, *NETWORK)
    assert first.stdout == (
        "host1 created; ifconfig-push 10.100.100.10 255.255.255.0\n"
        "host2 created; ifconfig-push 10.100.100.14 255.255.255.0\n"
        "2 clients in 10.100.100.0/24, 1 host outside: 2 files created, 0 unchanged\n"
    )
    assert (first.exit_code, first.stderr) == (0, "")
    assert Path("ccd/host1").read_text() == PUSH1 + LINE
    second = run(hosts, *NETWORK)
    assert second.stdout == "2 clients in 10.100.100.0/24, 1 host outside: 2 unchanged\n"
    assert second.exit_code == 0


def test_a_dry_run_shows_a_diff_and_writes_nothing(run):
    Path("ccd/host1").write_text(PUSH2 + LINE + "disable")
    Path("ccd/host9").write_text(PUSH2 + LINE)
    found = run("10.100.100.10 host1\n10.100.100.14 host2\n", "-n", *NETWORK)
    assert found.exit_code == 1
    assert found.stdout == (
        "--- ccd/host1\n+++ ccd/host1\n@@ -1,3 +1,3 @@\n"
        f"-{PUSH2}+{PUSH1} {LINE} disable\n\\ No newline at end of file\n"
        f"--- /dev/null\n+++ ccd/host2\n@@ -0,0 +1,2 @@\n+{PUSH2}+{LINE}"
        f"--- ccd/host9\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-{PUSH2}-{LINE}"
        "2 clients in 10.100.100.0/24: 1 file to create, 1 file to change, 1 file to remove,"
        " 0 unchanged\n"
    )
    assert files() == ["host1", "host9"]
    assert run("10.100.100.10 host1\n10.100.100.14 host2\n", *NETWORK).exit_code == 0
    assert run("10.100.100.10 host1\n10.100.100.14 host2\n", "-n", *NETWORK).exit_code == 0
    assert Path("ccd/host1").read_text() == PUSH1 + LINE + "disable"


def test_with_mistakes_nothing_is_written(run):
    hosts = "10.100.100.10 host1\n10.100.100.10 host2\n10.100.100.11 ../host3\n10.100.100.101 x\n"
    found = run(hosts, *NETWORK)
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr.splitlines() == [
        "hosts:2: host2: 10.100.100.10 is the address of host1 in line 1, too",
        (
            "hosts:3: ../host3: cannot be the name of a client's file: letters, digits and _ . @ -"
            " can, and neither . nor - at the beginning; write such a file by hand"
        ),
        "2 mistakes: nothing was written",
    ]
    assert files() == []


def test_warnings(run):
    Path("ccd/host1").write_text("disable\n")
    hosts = "10.100.100.10 host1\n10.1.1.1 other\n"
    found = run(hosts, *NETWORK)
    expected = "ccd/host1: is written by hand, without ifconfig-push: host1 does not get"
    assert found.stderr == f"warning: {expected} 10.100.100.10 of hosts:1\n"
    assert found.exit_code == 0
    found = run(f"{hosts}10.100.100.101 B\n", "-v", *NETWORK)
    assert found.stdout.startswith("1 client and 1 server in 10.100.100.0/24, 1 host outside:")
    assert found.stderr.splitlines()[1:] == [
        "no file: hosts:3: B: 10.100.100.101 is the address of a server",
        "no file: hosts:2: other: 10.1.1.1 is outside 10.100.100.0/24",
    ]
    found = run(hosts, "--strict", *NETWORK)
    assert (found.exit_code, len(found.stderr.splitlines())) == (2, 3)


def test_json(run):
    Path("ccd/host1").write_text("disable\x1b\n" + LINE)
    hosts = "10.100.100.10 host1\n10.100.100.14 host2\n10.1.1.1 other\n"
    found = run(hosts, "--json", *NETWORK)
    assert found.exit_code == 2
    report = validate("ccd", found.stdout)
    assert report["verdict"] == "1 mistake: nothing was written"
    assert (report["written"], report["clients"], report["unchanged"]) == (False, 2, 0)
    assert report["changes"] == []
    assert report["mistakes"][0]["line"] == 1
    Path("ccd/host1").write_text(LINE + "disable\x1b\n")
    report = validate("ccd", run(hosts, "--json", *NETWORK).stdout)
    assert report["written"]
    assert [change["action"] for change in report["changes"]] == ["change", "create"]
    assert "disable\\x1b\n" in report["changes"][0]["diff"]


def test_short_names(run):
    run("10.100.100.10 host1.vpn.example.org host1\n", "--short", *NETWORK)
    assert files() == ["host1"]


def test_net30(run):
    run("10.100.100.10 host1\n", "--topology", "net30", *NETWORK)
    assert Path("ccd/host1").read_text() == "ifconfig-push 10.100.100.10 10.100.100.9\n" + LINE


def test_on_a_machine_without_a_configuration(run):
    found = run("10.100.100.10 host1\n", *NETWORK, config="none.conf")
    assert found.exit_code == 0
    assert found.stderr == (
        "warning: none.conf: is missing: the servers' addresses are not known\n"
    )
    found = run("10.100.100.10 host1\n", config="none.conf")
    assert found.exit_code == 2
    assert "none.conf: cannot be read" in found.stderr


def test_a_subnet_that_is_not_known(run):
    found = run("10.100.100.10 host1\n")
    assert found.exit_code == 2
    assert found.stderr.startswith("the clients' subnet is not known: use --network (")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("nothing", "ccd"), "nothing: No such file or directory\n"),
        (("ccd", "ccd"), "ccd: Is a directory\n"),
        (("hosts", "nothing"), "nothing: No such file or directory\n"),
        (("hosts", "ccd", "--network", "10.1.1.1/24"), "10.1.1.1/24 has host bits set (example"),
    ],
)
def test_wrong_usage(run, arguments, why):
    run("10.100.100.10 host1\n", *NETWORK)
    found = cli_runner().invoke(main, ["-c", "none.conf", "ccd", *NETWORK, *arguments])
    assert found.exit_code == 2
    assert why in found.stderr


def test_a_hosts_file_from_another_program(run, tmp_path):
    read, write = os.pipe()
    os.write(write, b"10.100.100.10 host1\n")
    os.close(write)
    found = cli_runner().invoke(
        main, ["-c", "none.conf", "ccd", f"/dev/fd/{read}", "ccd", *NETWORK]
    )
    os.close(read)
    assert found.exit_code == 0
    assert Path("ccd/host1").read_text() == PUSH1 + LINE


def test_a_disk_that_is_full_is_told_of_with_what_was_done(run, monkeypatch):
    def full(_self, change):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Directory, "apply", full)
    found = run("10.100.100.10 host1\n", *NETWORK)
    assert found.exit_code == 1
    assert found.stderr == (
        "ccd/host1: No space left on device; 0 of 1 files were written; run it again\n"
    )


def test_a_second_run_at_the_same_time(run):
    with open_directory(Path("ccd")) as other:
        other.lock()
        found = run("10.100.100.10 host1\n", *NETWORK)
        assert (found.exit_code, found.stdout) == (1, "")
        assert found.stderr == "ccd: another `cuberouted ccd` is at work\n"
        assert run("10.100.100.10 host1\n", "-n", *NETWORK).stdout != ""


def test_a_directory_that_cannot_be_synchronised_is_told_of(run, monkeypatch):
    def fail(_self):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Directory, "sync", fail)
    found = run("10.100.100.10 host1\n", *NETWORK)
    assert found.exit_code == 1
    assert "Input/output error; 1 of 1 files were written" in found.stderr
