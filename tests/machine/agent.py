"""The shell into a machine under qemu: it runs there, and executes one command after the other.

Requests come by a virtio-serial port, one JSON object a line: ``id``, ``argv``, ``env``, ``input``
(base64) and ``timeout`` in seconds. The reply has that ``id``, ``status`` (the exit status,
negative for a signal, null after the timeout), ``stdout`` and ``stderr`` (base64). A line with
``boot`` comes first. The file is copied to the machine alone: it needs only Python's standard
library.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PORT = "shell"
"""The name that qemu gives the port."""

WAIT_FOR_PORT = 120.0
"""Seconds until the port must be there; the unit starts this again afterwards."""

NO_PROGRAM = 127
"""The exit status for a program that cannot be executed, as a shell's."""


def find_port() -> Path:
    """The device of the port, once its driver is there.

    Raises:
      TimeoutError: it does not appear.
    """
    deadline = time.monotonic() + WAIT_FOR_PORT
    while time.monotonic() < deadline:
        for name in Path("/sys/class/virtio-ports").glob("*/name"):
            if name.read_text().strip() == PORT:
                return Path("/dev") / name.parent.name
        time.sleep(0.1)
    raise TimeoutError(f"no virtio-serial port with the name {PORT}")


def run(request: dict[str, Any]) -> dict[str, Any]:
    """The reply to a request: runs the program to its end, or kills it after its timeout."""
    argv = request["argv"]
    try:
        process = subprocess.Popen(
            argv,
            env=request["env"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as failed:
        return _reply(request, NO_PROGRAM, b"", f"{argv[0]}: {failed.strerror}\n".encode())
    written = base64.b64decode(request["input"])
    try:
        out, err = process.communicate(written, timeout=request["timeout"])
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return _reply(request, None, *process.communicate())
    return _reply(request, process.returncode, out, err)


def _reply(request: dict[str, Any], status: int | None, out: bytes, err: bytes) -> dict[str, Any]:
    streams = {"stdout": base64.b64encode(out).decode(), "stderr": base64.b64encode(err).decode()}
    return {"id": request["id"], "status": status, **streams}


def _lines(port: int) -> Iterator[bytes]:
    """The lines that are received, for ever."""
    rest = b""
    while True:
        data = os.read(port, 1 << 16)
        if not data:  # nobody has the other end open
            time.sleep(0.05)
        *lines, rest = (rest + data).split(b"\n")
        yield from lines


def _send(port: int, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(port, data) :]


def main() -> None:
    """Executes requests for ever."""
    port = os.open(find_port(), os.O_RDWR)
    _send(port, {"boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip()})
    for line in _lines(port):
        _send(port, run(json.loads(line)))


if __name__ == "__main__":
    main()
