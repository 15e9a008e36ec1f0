"""OpenVPN's own configuration, as OpenVPN reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.openvpn.config_file import (
    MAX_FILE,
    ConfigFileError,
    Option,
    parse_file,
    read_command_line,
    read_config,
)

SERVER = b"""\xef\xbb\xbf# a comment
port 1194 ; another
;proto tcp
--dev tun0
client-config-dir "/etc/open vpn/ccd"
push 'route 10.0.0.0 "255.0.0.0"'
setenv a b\\ c\\\\d "e\\"f" g#h
\ttls-crypt\ttc.key\r
<ca>
-----BEGIN CERTIFICATE-----
# kept
</ca>
management /run/m.sock unix
management 127.0.0.1 5656
"""


def files(**contents: bytes):
    known = {Path(f"/etc/{name}.conf"): content for name, content in contents.items()}

    def read(path: Path) -> bytes:
        if path not in known:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return known[path]

    return read


def test_a_file_has_words_quotes_escapes_comments_and_inline_files() -> None:
    assert list(parse_file(SERVER)) == [
        Option("port", ("1194",)),
        Option("dev", ("tun0",)),
        Option("client-config-dir", ("/etc/open vpn/ccd",)),
        Option("push", ('route 10.0.0.0 "255.0.0.0"',)),
        Option("setenv", ("a", "b c\\d", 'e"f', "g#h")),
        Option("tls-crypt", ("tc.key",)),
        Option("ca", (), b"-----BEGIN CERTIFICATE-----\n# kept\n"),
        Option("management", ("/run/m.sock", "unix")),
        Option("management", ("127.0.0.1", "5656")),
    ]


def test_the_last_option_counts_and_paths_are_relative_to_the_directory() -> None:
    found = read_config(Path("/etc/a.conf"), Path("/srv"), files(a=SERVER))
    management, key = found.get("management"), found.get("tls-crypt")
    assert management == Option("management", ("127.0.0.1", "5656"))
    assert key is not None
    assert found.path(key) == Path("/srv/tc.key")
    assert found.get("crl-verify") is None


def test_files_include_others_and_change_the_directory() -> None:
    read = files(a=b"config b.conf\nport 2\n", b=b"port 1\ncd /srv\ncrl-verify crl.pem\n")
    found = read_config(Path("a.conf"), Path("/etc"), read)
    assert [option.arguments[0] for option in found.all("port")] == ["1", "2"]
    assert found.path(found.all("crl-verify")[0]) == Path("/srv/crl.pem")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--cd", "/etc", "--config", "a.conf"],
        ["--status", "x", "--suppress-timestamps", "--config", "/etc/a.conf"],
        ["/etc/a.conf"],
    ],
)
def test_a_command_line_names_the_file(arguments: list[str]) -> None:
    found = read_command_line(arguments, Path("/"), files(a=b"port 7\n"))
    port = found.get("port")
    assert port == Option("port", ("7",))


def test_a_circle_a_large_file_and_an_absent_one_are_errors() -> None:
    for content in (b"config a.conf\n", b"#" * (MAX_FILE + 1)):
        with pytest.raises(ConfigFileError):
            read_config(Path("a.conf"), Path("/etc"), files(a=content))
    with pytest.raises(FileNotFoundError):
        read_config(Path("b.conf"), Path("/etc"), files())


@given(st.binary(max_size=300))
def test_any_bytes_are_read(data: bytes) -> None:
    options = list(parse_file(data))
    assert len(options) <= data.count(b"\n") + 1
