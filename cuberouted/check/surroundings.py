"""What else of this host matters: kinds and MTUs of interfaces, FRR, and Amazon EC2. Only reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from cuberouted.check.facts import Device
from cuberouted.check.programs import run
from cuberouted.util.decoding import DECODE_ERRORS

DMI = Path("/sys/class/dmi/id")

ZEBRA_COMMAND = "zebra"
"""The name of its process in /proc."""

NO_NEXTHOPS = "no zebra nexthop kernel enable"
"""The line in FRR's configuration."""


def read_devices() -> Mapping[str, Device]:
    """Kind and MTU by the name of the interface; empty if `ip` does not tell."""
    return parse_devices(run("ip", "-json", "-details", "link", "show") or "")


def parse_devices(output: str) -> Mapping[str, Device]:
    """The devices in the output of `ip -json -details link show`."""
    try:
        rows = msgspec.json.decode(output, type=list[dict[str, Any]])
    except DECODE_ERRORS:
        return {}
    return dict(_devices(rows))


def _devices(rows: list[dict[str, Any]]) -> Iterator[tuple[str, Device]]:
    for row in rows:
        mtu, information = row.get("mtu"), row.get("linkinfo")
        kind = information.get("info_kind") if isinstance(information, dict) else ""
        for name in (row.get("ifname"), *_listed(row.get("altnames"))):
            if isinstance(name, str) and isinstance(mtu, int):
                yield name, Device(str(kind or ""), mtu)


def _listed(found: object) -> list[object]:
    return found if isinstance(found, list) else []


def read_instance(dmi: Path = DMI) -> str | None:
    """The id of this Amazon EC2 instance, empty if it is not told, None if it is none."""
    if "Amazon EC2" not in (_read(dmi / "sys_vendor"), _read(dmi / "board_vendor")):
        return None
    tag = _read(dmi / "board_asset_tag")
    return tag if re.fullmatch(r"i-[0-9a-f]{8,17}", tag) else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def zebra_makes_nexthops(runs: bool) -> bool | None:
    """Whether FRR's zebra makes nexthop objects. None if it does not run, or does not tell."""
    shown = run("vtysh", "-c", "show running-config") if runs else None
    return None if shown is None else NO_NEXTHOPS not in map(str.strip, shown.splitlines())
