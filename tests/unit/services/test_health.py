import math

import pytest

from cuberouted.config.schema import ServiceConfig
from cuberouted.services.health import Health

CONFIG = ServiceConfig(check=("/check",), rise=2, fall=3, check_interval=2.0)


def results(health, text):
    """Health after each check: + succeeds, - fails. In the answer: h is healthy, u is not."""
    states = ""
    for result in text:
        health.ended(CONFIG, result == "+", "exit status 1", 0.0)
        states += "h" if health.healthy else "u"
    return states


@pytest.mark.parametrize(
    ("checks", "states"),
    [
        ("+", "h"),  # the first result counts at once
        ("-", "u"),
        ("+--+", "hhhh"),
        ("+---", "hhhu"),
        ("+--+--+", "hhhhhhh"),  # only in a row
        ("-+", "uu"),
        ("-++", "uuh"),
        ("-+-+-", "uuuuu"),
    ],
)
def test_rise_and_fall(checks, states):
    assert results(Health.of(CONFIG, 0.0), checks) == states


@pytest.mark.parametrize(("checks", "states"), [("--+", "hhh"), ("---", "hhu"), ("+---", "hhhu")])
def test_an_adopted_service_is_healthy_until_fall_checks_have_failed(checks, states):
    health = Health.of(CONFIG, 0.0)
    health.adopt()
    assert results(health, checks) == states


def test_without_a_check_it_is_healthy():
    health = Health.of(ServiceConfig(), 5.0)
    assert health.healthy
    assert health.problem == ""
    assert health.due == math.inf


def test_checks_start_at_their_interval_and_never_before_the_last_has_ended():
    health = Health.of(CONFIG, 10.0)
    assert health.due == 10.0
    health.ended(CONFIG, True, "", 10.4)
    assert health.due == 12.0
    health.ended(CONFIG, True, "", 15.0)
    assert health.due == 15.0


def test_only_a_change_is_reported():
    health = Health.of(CONFIG, 0.0)
    changes = [health.ended(CONFIG, ok, "", 0.0) for ok in (True, True, False, False, False, True)]
    assert changes == [True, False, False, False, True, False]
