"""`cuberouted watch`."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click
import trio

from cuberouted.cli.context import Location, daemon_socket, location_options
from cuberouted.util.tasks import run_in_thread, run_trio

if TYPE_CHECKING:
    from cuberouted.cli.watch.model import Action
    from cuberouted.cli.watch.terminal import LiveTerminal

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that end the program, once the terminal is as it was."""

DRAWN_APART = 0.2
"""Seconds between two drawings because of events. Keys are drawn at once."""

DRAWN_AT_LEAST = 1.0
"""Seconds after which the screen is drawn in any case: it has a clock."""


@click.command(short_help="Show nodes, clients and events, live.")
@location_options
@click.pass_obj
def watch(location: Location) -> None:
    """Show the nodes, the clients and what happens, live, until q or Ctrl-C.

    ? shows the keys. Where standard output is no terminal, the events are printed as by `monitor`.
    """
    from cuberouted.cli import monitor
    from cuberouted.cli.event_lines import Selection
    from cuberouted.cli.watch.terminal import LiveTerminal

    if not LiveTerminal.is_usable():
        monitor.run(location, Selection(), as_json=False)
    with daemon_socket(location) as socket:
        ended_by = run_trio(App(socket, LiveTerminal()).run)
    if ended_by is not None:
        monitor.end_by(ended_by)


class App:
    """The tasks of the live view, on *terminal*."""

    def __init__(self, socket: Path, terminal: LiveTerminal) -> None:
        from cuberouted.cli.watch.feed import Feed
        from cuberouted.cli.watch.keys import Keyboard
        from cuberouted.cli.watch.model import Watch
        from cuberouted.cli.watch.screen import Look

        self._socket = socket
        self._terminal = terminal
        self._view = Watch(*terminal.size())
        self._look = Look(terminal.encoding)
        self._keyboard = Keyboard(terminal.encoding)
        self._feed = Feed(socket, self._view, self._change)
        self._changed = trio.Event()
        self._pressed = trio.Event()
        self._scope = trio.CancelScope()
        self._ended_by: signal.Signals | None = None

    async def run(self) -> signal.Signals | None:
        """Run until the user quits. Return the signal that ended it, if it was one."""
        numbers = (*ENDING, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)
        with trio.open_signal_receiver(*numbers) as signals, self._terminal.taken(), self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._feed.run)
                nursery.start_soon(self._draw_changes)
                nursery.start_soon(self._read_keys, nursery)
                async for number in signals:
                    self._handle_signal(signal.Signals(number))
        return self._ended_by

    def _handle_signal(self, number: signal.Signals) -> None:
        if number in ENDING:
            self._end(number)
        elif number is signal.SIGTSTP:
            self._terminal.suspend()
        elif number is signal.SIGCONT:
            self._terminal.take()
        self._press()

    def _end(self, number: signal.Signals | None) -> None:
        self._ended_by = number
        self._scope.cancel()

    def _change(self) -> None:
        self._changed.set()

    def _press(self) -> None:
        self._changed.set()
        self._pressed.set()

    async def _draw_changes(self) -> None:
        while True:
            self._changed, self._pressed = trio.Event(), trio.Event()
            self._draw()
            drawn = trio.current_time()
            with trio.move_on_at(drawn + DRAWN_AT_LEAST):
                await self._changed.wait()
            with trio.move_on_at(drawn + DRAWN_APART):
                await self._pressed.wait()

    def _draw(self) -> None:
        from cuberouted.cli.watch.screen import render

        now = trio.current_time()
        self._view.mesh.timer(now)
        try:
            self._view.resize(*self._terminal.size())
            self._terminal.draw(render(self._view, now, time.time(), self._look))
        except OSError:  # the terminal is gone
            self._end(signal.SIGHUP)

    async def _read_keys(self, nursery: trio.Nursery) -> None:
        while True:
            data = b""
            with trio.move_on_at(self._keyboard.deadline) as waiting:
                await trio.lowlevel.wait_readable(self._terminal.input)
            now = trio.current_time()
            if waiting.cancelled_caught:
                keys = self._keyboard.timer(now)
            else:
                try:
                    data = self._terminal.read()
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                if not data:  # the terminal is gone
                    self._end(signal.SIGHUP)
                keys = self._keyboard.receive(data, now)
            for key in keys:
                self._act(self._view.press(key, now), nursery)
            self._press()

    def _act(self, action: Action | None, nursery: trio.Nursery) -> None:
        from cuberouted.cli.watch.model import Explain, Quit

        match action:
            case Quit():
                self._end(None)
            case Explain(target):
                nursery.start_soon(self._explain, target)

    async def _explain(self, target: str) -> None:
        from cuberouted.api import client
        from cuberouted.api.protocol import ControlError
        from cuberouted.api.report_why import Why
        from cuberouted.cli.render_why import why_lines
        from cuberouted.cli.terminal import Terminal

        path = f"/v1/why/{quote(target, safe='')}"
        width, height = self._view.size
        try:
            why = await run_in_thread(client.get, self._socket, path, Why)
            terminal = Terminal(max(width - 4, 20), height, encoding=self._terminal.encoding)
            text = "\n".join(why_lines(why, terminal))
        except ControlError as error:
            text = str(error)
        self._view.explained(target, text.splitlines())
        self._press()
