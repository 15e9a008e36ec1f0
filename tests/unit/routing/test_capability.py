from __future__ import annotations

from pathlib import Path

import pytest

from cuberouted.routing.linux.kernel import missing_capability


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("CapEff:\t000001ffffffffff", None),
        ("CapEff:\t0000000000001000", None),
        ("CapEff:\t000001ffffffefff", "CAP_NET_ADMIN"),
        ("CapEff:\t0000000000000000", "CAP_NET_ADMIN"),
        ("CapPrm:\t0000000000000000", None),
    ],
)
def test_the_missing_capability_is_named(tmp_path: Path, line: str, missing: str | None) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tcuberouted\n{line}\nCapBnd:\t0\n")
    assert missing_capability(status) == missing
