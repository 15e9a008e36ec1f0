from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from cuberouted.check import credentials
from cuberouted.check.credentials import parse, why_not_passed
from cuberouted.check.users import Unit

PASSWORD = Path("/run/credentials/cuberouted.service/openvpn-pass")
UNIT = Unit("cuberouted", (), None, ())


@pytest.fixture
def shown(monkeypatch):
    """What `systemctl cat` prints, as a list of one."""
    text = [""]
    monkeypatch.setattr(credentials, "run", lambda *_: text[0])
    return text


def refused(unit: Unit) -> tuple[str, str]:
    why = why_not_passed(unit, PASSWORD)
    assert why
    return why


def test_credentials_are_read_from_all_files_of_the_unit():
    text = """\
# /usr/lib/systemd/system/cuberouted.service
# LoadCredential=none:/x
LoadCredential=gone:/y
LoadCredential=

# /etc/systemd/system/cuberouted.service.d/a.conf
LoadCredential=openvpn-pass:/etc/openvpn/pass
 LoadCredentialEncrypted = cuberouted-key
SetCredential=text:/not/a:path
"""
    passed = {"openvpn-pass": "/etc/openvpn/pass", "cuberouted-key": "", "text": ""}
    assert parse(text) == passed
    assert parse(text + "ImportCredential=*\n") is None


def test_a_unit_without_the_drop_in_does_not_pass_the_file(shown):
    what, advice = refused(UNIT)
    assert "no LoadCredential=openvpn-pass" in what
    assert "drop-in" in advice
    assert why_not_passed(UNIT, Path("/etc/openvpn/pass")) is None
    shown[0] = None  # systemctl has failed
    assert why_not_passed(UNIT, PASSWORD) is None


def test_the_file_that_is_passed_has_to_be_there(shown, tmp_path):
    source = tmp_path / "pass"
    shown[0] = f"LoadCredential=openvpn-pass:{source}\n"
    what, advice = refused(UNIT)
    assert what.startswith(f"{source} does not exist")
    assert advice.startswith(f"make {source}")
    source.touch()
    assert why_not_passed(UNIT, PASSWORD) is None
    _, advice = refused(attrs.evolve(UNIT, needs_reload=True))
    assert advice == "`systemctl daemon-reload`"


def test_a_name_without_a_path_is_searched_by_systemd(shown):
    shown[0] = "LoadCredential=openvpn-pass\n"
    assert why_not_passed(UNIT, PASSWORD) is None
