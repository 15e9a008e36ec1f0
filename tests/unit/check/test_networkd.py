from __future__ import annotations

import os

import pytest

from cuberouted.check import networkd
from tests.fakes.samples import link

KEYS = ("ManageForeignRoutes", "ManageForeignRoutingPolicyRules", "ManageForeignNextHops")
ALL_NO = "[Network]\n" + "".join(f"{key}=no\n" for key in KEYS)


@pytest.fixture
def host(tmp_path):
    """Where networkd runs, in our network namespace."""
    process(tmp_path, "self", "pytest", "net:[1]")
    process(tmp_path, "7", "systemd-network", "net:[1]")
    return tmp_path


def process(host, pid, name, namespace):
    (host / "proc" / pid / "ns").mkdir(parents=True)
    (host / "proc" / pid / "comm").write_text(name + "\n")
    (host / "proc" / pid / "ns/net").symlink_to(namespace)


def write(host, path, text):
    file = host / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def running(host, monkeypatch, version=257):
    monkeypatch.setattr(networkd, "run", lambda *_: version and f"systemd {version} (x)\n+PAM\n")
    return networkd.running_version(host / "proc")


def missing(host, monkeypatch, version=257):
    directories = [host / name for name in ("etc", "run", "usr/lib")]
    return networkd.missing_keys(running(host, monkeypatch, version), directories)


def test_where_it_does_not_run_it_has_no_version(tmp_path, monkeypatch):
    process(tmp_path, "self", "pytest", "net:[1]")
    process(tmp_path, "7", "systemd-journal", "net:[1]")
    process(tmp_path, "8", "systemd-network", "net:[2]")  # that of a container
    assert running(tmp_path, monkeypatch) is None
    process(tmp_path, "9", "systemd-network", "net:[1]")
    assert running(tmp_path, monkeypatch) == 257


@pytest.mark.parametrize(
    ("version", "expected"),
    [(257, KEYS), (256, KEYS), (255, KEYS[:2]), (249, KEYS[:2]), (248, KEYS[:1]), (None, KEYS)],
)
def test_the_keys_that_its_version_knows_are_missing(host, monkeypatch, version, expected):
    assert missing(host, monkeypatch, version) == expected


@pytest.mark.parametrize(
    "path",
    [
        "etc/networkd.conf",
        "etc/networkd.conf.d/x.conf",
        "run/networkd.conf.d/x.conf",
        "usr/lib/networkd.conf",
    ],
)
def test_a_file_in_each_directory_counts(host, monkeypatch, path):
    write(host, path, ALL_NO)
    assert missing(host, monkeypatch) == ()


def test_a_process_may_have_any_name(host, monkeypatch):
    process(host, "6", "other", "net:[1]")
    (host / "proc/6/comm").write_bytes(b"\xff\n")
    assert missing(host, monkeypatch) == KEYS


def test_the_process_whose_namespace_we_may_not_see_counts(host, monkeypatch):
    (host / "proc/7/ns/net").unlink()
    assert missing(host, monkeypatch) == KEYS


@pytest.mark.parametrize(
    "files",
    [
        # of one name the first directory counts
        {"usr/lib/networkd.conf.d/a.conf": ALL_NO, "etc/networkd.conf.d/a.conf": ""},
        # a later name overrides, wherever it is
        {"etc/networkd.conf.d/a.conf": ALL_NO, "usr/lib/networkd.conf.d/b.conf": "yes"},
        # only one networkd.conf is read, and the others override it
        {"usr/lib/networkd.conf": ALL_NO, "etc/networkd.conf": "[Network]\n"},
        {"etc/networkd.conf": ALL_NO, "run/networkd.conf.d/a.conf": "yes"},
        # not a drop-in
        {"etc/networkd.conf.d/a.txt": ALL_NO},
    ],
)
def test_files_are_read_in_their_order(host, monkeypatch, files):
    for path, text in files.items():
        write(host, path, text.replace("yes", ALL_NO.replace("=no", "=yes")))
    assert missing(host, monkeypatch) == KEYS


def test_a_file_that_is_masked_or_unreadable_is_empty(host, monkeypatch):
    write(host, "usr/lib/networkd.conf.d/a.conf", ALL_NO)
    (host / "etc/networkd.conf.d").mkdir(parents=True)
    (host / "etc/networkd.conf.d/a.conf").symlink_to(os.devnull)
    (host / "run/networkd.conf.d/b.conf").mkdir(parents=True)
    assert missing(host, monkeypatch) == KEYS


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[Network]\nA=no", {"A": False}),
        ("[Network]\n  A = No  ", {"A": False}),
        (
            "[Network]\nA=0\nB=1\nC=off\nD=on\nE=t",
            dict.fromkeys("BDE", True) | {"A": False, "C": False},
        ),
        ("[Network]\nA=no\nA=yes", {"A": True}),
        ("[Network]\nA=no\nA=\nA=perhaps", {"A": False}),
        ("[Network]\n#A=no\n;A=no\nnonsense", {}),
        ("[DHCPv4]\nA=no\n[Network]\n[Other]\nB=no", {}),
        ("A=no", {}),
        ("[Network]\nA=\\\nno", {"A": False}),
    ],
)
def test_switches_are_read_as_networkd_reads_them(tmp_path, text, found):
    write(tmp_path, "networkd.conf", text)
    assert networkd.network_settings([tmp_path]) == found


@pytest.mark.parametrize(
    ("version", "unprotected"), [(252, {"tun1"}), (255, {"tun1"}), (256, set())]
)
def test_before_version_256_a_managed_link_is_not_protected(
    host, monkeypatch, version, unprotected
):
    write(host, "links/4", "# private\nADMIN_STATE=unmanaged\nOPER_STATE=routable\n")
    write(host, "links/5", "# private\nADMIN_STATE=configured\nOPER_STATE=routable\n")
    links = [link("tun0", index=4), link("tun1", index=5), link("tun2", index=6)]
    found = networkd.unprotected_links(links, running(host, monkeypatch, version), host / "links")
    assert found == unprotected


def test_where_it_does_not_run_every_link_is_protected(tmp_path):
    write(tmp_path, "links/5", "ADMIN_STATE=configured\n")
    links = [link("tun1", index=5)]
    assert networkd.unprotected_links(links, None, tmp_path / "links") == frozenset()
