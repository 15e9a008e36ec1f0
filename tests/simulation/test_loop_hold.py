"""With 20,000 clients no task keeps the event loop for long, whatever happens."""

from __future__ import annotations

from cuberouted.util.tasks import run_trio
from tests.bench.loop_hold import CPU, QUESTIONS, longest_steps

CLIENTS = 20_000

LIMIT = 0.05
"""Seconds of processor time in one step; by the clock it takes less than 20 ms on an idle
machine, but the machines that run this may be slow."""

LIMIT_OF_REPLIES = 0.02
"""The same for what the commands and Prometheus ask for."""


def test_no_step_of_the_daemon_takes_long() -> None:
    steps = run_trio(longest_steps, CLIENTS, CPU)
    too_long = {occasion: step for occasion, step in steps.items() if step.cpu > LIMIT}
    assert not too_long, too_long
    replies = {who: steps[who].cpu for who in QUESTIONS}
    assert max(replies.values()) < LIMIT_OF_REPLIES, replies
