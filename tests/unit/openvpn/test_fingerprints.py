"""Whether servers have the same files: what is compared, and what the digests tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from cuberouted.config import OpenVPNConfig
from cuberouted.model import FileKind, Fingerprint
from cuberouted.openvpn import shared_files
from cuberouted.openvpn.config_search import find_options, read_file
from cuberouted.openvpn.fingerprints import OwnFingerprint, Verdict, compare, digest

CCD, CRL, TLS_KEY, TOKEN_SECRET = FileKind
NONCE = b"n" * 16
KEY = b"# a comment\n-----BEGIN OpenVPN Static key V1-----\n0123\n-----END-----\n"


def own(kind: FileKind = CCD, openvpn: str = "", **files: bytes) -> OwnFingerprint:
    pairs = [(name.encode(), content) for name, content in files.items()]
    return OwnFingerprint.of(kind, openvpn, NONCE, pairs)


def compared(one: OwnFingerprint, other: OwnFingerprint) -> tuple[Verdict, str] | None:
    found = compare([one], [other.fingerprint])
    return (found[0].verdict, found[0].text) if found else None


def test_the_same_files_are_the_same_in_any_order_and_with_any_spaces() -> None:
    one = own(host1=b"ifconfig-push 10.9.0.1 255.0.0.0\n", host2=b"")
    other = own(host2=b"\n# nothing\n", host1=b"\tifconfig-push 10.9.0.1 255.0.0.0\r\n;x\n")
    assert compared(one, other) == (Verdict.SAME, "")


def test_another_nonce_name_or_content_has_another_digest() -> None:
    digests = {
        digest(nonce, name, content)
        for nonce in (b"1" * 16, b"2" * 16)
        for name in (b"a", b"b")
        for content in (b"x", b"y", b"x y", b"x\ny")
    }
    assert len(digests) == 16


def test_entries_that_differ_are_named() -> None:
    one = own(host1=b"a", host2=b"b", host3=b"c")
    assert compared(one, own(host1=b"a", host2=b"B", host4=b"d")) == (
        Verdict.DIFFERS,
        "missing or different there: host2, host3; 2 files there missing or different here",
    )
    assert compared(one, own(host1=b"a", host2=b"b")) == (
        Verdict.DIFFERS,
        "missing or different there: host3",
    )
    assert compared(own(host1=b"a"), own(host1=b"a", host2=b"b")) == (
        Verdict.DIFFERS,
        "1 file there missing or different here",
    )
    many = OwnFingerprint.of(CCD, "", NONCE, [(b"host%d" % number, b"") for number in range(9)])
    assert compared(many, own())[1].endswith("host0, host1, host2 and 6 more")  # type: ignore[index]


def test_single_files_differ_are_absent_or_unknown() -> None:
    one, other = own(CRL, crl=b"1"), own(CRL, crl=b"2")
    assert compared(one, one) == (Verdict.SAME, "")
    assert compared(one, other) == (Verdict.DIFFERS, "another one is used there")
    assert compared(one, own(CRL)) == (Verdict.DIFFERS, "it is set here, and not there")
    assert compared(own(CRL), one) == (Verdict.DIFFERS, "it is set there, and not here")
    assert compared(own(CRL), own(CRL)) is None
    unknown = OwnFingerprint.unknown(CRL, "", "crl.pem: Permission denied")
    assert compared(one, unknown) == (Verdict.UNKNOWN, "there: crl.pem: Permission denied")
    assert compared(unknown, one) == (Verdict.UNKNOWN, "here: crl.pem: Permission denied")


def test_processes_are_compared_by_name_or_as_the_only_ones() -> None:
    one, other = own(CRL, "udp", crl=b"1"), own(CRL, "other", crl=b"2")
    assert [found.verdict for found in compare([one], [other.fingerprint])] == [Verdict.DIFFERS]
    two = [one, own(CRL, "tcp", crl=b"1")]
    assert compare(two, [other.fingerprint]) == []
    theirs = [own(CRL, "tcp", crl=b"1").fingerprint, own(CRL, "udp", crl=b"2").fingerprint]
    found = {item.openvpn: item.verdict for item in compare(two, theirs)}
    assert found == {"udp": Verdict.DIFFERS, "tcp": Verdict.SAME}


def test_a_reason_that_a_peer_sends_is_shown_printable() -> None:
    bad = Fingerprint(CRL, "", why="\x1b[2J\n")
    [found] = compare([own(CRL, crl=b"1")], [bad])
    assert found.text.isprintable()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """/etc/openvpn of a server with files of every kind; no process runs."""
    monkeypatch.setattr(
        shared_files,
        "find_options",
        lambda config: find_options(config, proc=tmp_path / "proc", etc=tmp_path),
    )
    (tmp_path / "ccd").mkdir()
    for name in ("host1", "host2", ".hidden"):
        (tmp_path / "ccd" / name).write_text("x")
    (tmp_path / "ccd/folder").mkdir()
    (tmp_path / "crl.pem").write_text("crl")
    (tmp_path / "token").write_text("secret")
    (tmp_path / "server.conf").write_text(
        "management 127.0.0.1 5656\nclient-config-dir ccd\ncrl-verify crl.pem\n"
        f"auth-gen-token-secret {tmp_path}/token\n<tls-crypt>\n{KEY.decode()}</tls-crypt>\n"
    )
    return tmp_path


def taken(*configs: OpenVPNConfig) -> dict[FileKind, OwnFingerprint]:
    found = shared_files.take_fingerprints(configs or [OpenVPNConfig()], NONCE)
    return {item.fingerprint.kind: item for item in found}


def test_all_kinds_are_found_in_openvpn_s_configuration(server: Path) -> None:
    found = taken()
    assert [item.fingerprint.why for item in found.values()] == [""] * 4
    assert sorted(found[CCD].names.values()) == [b"host1", b"host2"]
    assert found[TLS_KEY].fingerprint.digests == digest(NONCE, b"tls-crypt", KEY)
    assert found[TOKEN_SECRET].fingerprint.digests == digest(
        NONCE, b"auth-gen-token-secret", b"secret"
    )


def test_a_key_in_a_file_is_the_same_as_inside_the_configuration(server: Path) -> None:
    inside = taken()[TLS_KEY].fingerprint
    (server / "tc.key").write_bytes(KEY)
    (server / "server.conf").write_text("management 127.0.0.1 5656\ntls-crypt tc.key\n")
    assert taken()[TLS_KEY].fingerprint == inside
    assert taken()[CRL].fingerprint.digests == b""


def test_what_is_absent_or_too_large_is_told(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_files, "MAX_FILE", 1000)
    (server / "crl.pem").write_text("x" * 1001)
    (server / "token").unlink()
    found = taken()
    assert found[CRL].fingerprint.why.endswith("crl.pem: more than 1000 bytes")
    assert found[TOKEN_SECRET].fingerprint.why.endswith("token: No such file or directory")
    assert found[CCD].fingerprint.why == ""


def test_the_number_of_files_is_limited(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_files._Budget, "__init__", lambda self: limited(self))

    def limited(budget: shared_files._Budget) -> None:
        budget.files, budget.size = 1, 10**6

    assert taken()[CCD].fingerprint.why.startswith("more than 10000 files")


def test_without_openvpn_s_configuration_the_reason_is_told(server: Path) -> None:
    (server / "server.conf").unlink()
    whys = {item.fingerprint.why for item in taken().values()}
    assert len(whys) == 1
    assert whys.pop().startswith("no OpenVPN configuration with management port 5656 was found")


def test_an_unreadable_key_is_read_from_the_credentials(
    server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path, limit: int) -> bytes:
        if path == server / "token":
            raise PermissionError(13, "Permission denied", str(path))
        return read_file(path, limit)

    monkeypatch.setattr(shared_files, "read_file", read)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert taken()[TOKEN_SECRET].fingerprint.why.endswith("token: Permission denied")
    credentials = server / "credentials"
    credentials.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert taken()[TOKEN_SECRET].fingerprint.why.endswith("token: Permission denied")
    (credentials / "token").write_text("secret")
    expected = digest(NONCE, b"auth-gen-token-secret", b"secret")
    assert taken()[TOKEN_SECRET].fingerprint.digests == expected
