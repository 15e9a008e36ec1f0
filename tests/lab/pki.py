"""Keys and certificates, made by openssl when needed, never written to a file.

OpenVPN takes them inline, so they are text; openssl reads and writes them through memory.
"""

from __future__ import annotations

import functools
import os
import secrets
import subprocess
from typing import Self

import attrs


@attrs.frozen
class Pair:
    """A certificate and its private key, both PEM."""

    certificate: str
    key: str


@functools.cache
def authority() -> Pair:
    """The certificate authority of this process: every lab in it shares it."""
    return _request("/CN=cuberouted lab")


@functools.cache
def certificate(common_name: str) -> Pair:
    """A pair signed by `authority`, the same one for the same name."""
    ca = authority()
    with _Memory(ca.certificate) as cert, _Memory(ca.key) as key:
        subject = "/CN=" + common_name.replace("\\", "\\\\").replace("/", "\\/").replace("+", "\\+")
        return _request(subject, "-CA", cert.path, "-CAkey", key.path, keep=(cert.fd, key.fd))


def static_key() -> str:
    """A new OpenVPN static key: 2048 random bits in its PEM-like form."""
    lines = [secrets.token_hex(16) for _ in range(16)]
    begin, end = (f"-----{mark} OpenVPN Static key V1-----" for mark in ("BEGIN", "END"))
    return "\n".join([begin, *lines, end])


def _request(subject: str, *more: str, keep: tuple[int, ...] = ()) -> Pair:
    """A new P-256 key and a certificate for it, good for a day: self-signed without *more*."""
    with _Memory("") as key:
        argv = ["openssl", "req", "-x509", "-nodes", "-utf8", "-days", "1", "-subj", subject]
        argv += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", key.path]
        done = subprocess.run(
            [*argv, *more], capture_output=True, text=True, pass_fds=(key.fd, *keep), check=False
        )
        if done.returncode:
            raise RuntimeError(f"openssl made no certificate for {subject}: {done.stderr}")
        return Pair(done.stdout, key.text())


class _Memory:
    """A file in memory, which a child process opens as ``path``."""

    def __init__(self, text: str) -> None:
        self.fd = os.memfd_create("pki")
        os.write(self.fd, text.encode())
        self.path = f"/proc/self/fd/{self.fd}"

    def text(self) -> str:
        return os.pread(self.fd, 1 << 16, 0).decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
