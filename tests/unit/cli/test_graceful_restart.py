"""`graceful-restart` as users type it; the daemon is a control socket."""

from __future__ import annotations

import json

import pytest

from cuberouted.api.http import Endpoint
from cuberouted.api.report_drain import GracefulRestart, GracefulRestartOrder
from cuberouted.cli.context import PROBLEM, WRONG_USAGE
from tests.unit.cli.test_cli import place

__all__ = ["place"]


class Daemon:
    """``orders``: what it was sent, in seconds."""

    def __init__(self, on_exit: str = "withdraw") -> None:
        self.on_exit = on_exit
        self.orders: list[float] = []
        self.endpoints = (
            Endpoint("POST", "/v1/graceful-restart", self.post, body=GracefulRestartOrder),
        )

    async def post(self, request):
        order = request.json(GracefulRestartOrder)
        self.orders.append(order.within)
        return GracefulRestart("A", order.within, self.on_exit)


@pytest.mark.parametrize(
    ("arguments", "on_exit", "within", "sentence"),
    [
        ((), "withdraw", 60, "A: a stop within 60 s keeps the routes: `systemctl restart cu"),
        (("--within", "5m"), "withdraw", 300, "A: a stop within 300 s keeps the routes: `syst"),
        (("--within", "0s"), "withdraw", 0, "A: every stop withdraws the routes (on_exit = w"),
        ((), "keep", 60, "A: every stop keeps the routes (on_exit = keep)"),
    ],
)
def test_the_daemon_is_told_and_the_user_what_it_means(place, arguments, on_exit, within, sentence):
    daemon = Daemon(on_exit)
    with place.daemon(more=daemon.endpoints):
        done = place.run("graceful-restart", *arguments)
    assert done.exit_code == 0, done.output
    assert daemon.orders == [within]
    assert done.stdout.startswith(sentence)


def test_json(place):
    with place.daemon(more=Daemon().endpoints):
        done = place.run("graceful-restart", "--json")
    assert json.loads(done.stdout) == {"node": "A", "within": 60.0, "on_exit": "withdraw"}


@pytest.mark.parametrize("time", ["soon", "2h", "-1s"])
def test_a_time_that_is_none_or_too_long_is_wrong_usage(place, time):
    done = place.run("graceful-restart", "--within", time)
    assert done.exit_code == WRONG_USAGE
    assert time in done.stderr


def test_an_older_daemon_says_that_it_cannot(place):
    with place.daemon():
        done = place.run("graceful-restart")
    assert done.exit_code == PROBLEM
    assert "/v1/graceful-restart" in done.stderr
