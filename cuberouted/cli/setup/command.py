"""`cuberouted setup`."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import cast

import click

from cuberouted.cli.completion.command import script
from cuberouted.cli.context import PROBLEM, fail
from cuberouted.cli.setup.files import (
    CONFIG,
    IN_THE_WAY,
    SYSUSERS,
    TEMPLATE,
    TMPFILES,
    UNIT,
    File,
    Found,
    directories,
    files,
    origin,
)
from cuberouted.cli.setup.host import Host, HostError
from cuberouted.cli.setup.program import ProgramError, program, share

EXAMPLE, REFERENCE = "cuberouted.conf", "cuberouted.conf.reference"
"""The configuration that is written where there is none, and the one that explains every key."""

KEPT = """\
kept: /etc/cuberouted.conf, drop-ins and keys below /etc, /var/lib/cuberouted, the user cuberouted
if nothing needs them any more:
  rm -r /etc/cuberouted.conf /etc/systemd/system/cuberouted.service.d /var/lib/cuberouted
  userdel cuberouted; groupdel cuberouted-admin
if the configuration has on_exit = keep, the routes stay: `cuberouted flush` removes them"""


@click.command(short_help="Install unit, user and completions (without a package).")
@click.option("--uninstall", is_flag=True, help="Stop the daemon, and remove what was installed.")
@click.option("-n", "--dry-run", is_flag=True, help="Only tell what would be done.")
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("/"),
    metavar="DIR",
    help="Write below this directory, the root of another system, and run nothing.",
)
@click.pass_context
def setup(context: click.Context, uninstall: bool, dry_run: bool, root: Path) -> None:
    """Install what a package would: the unit, the user cuberouted, directories and completions.

    For a cuberouted that pip or pipx has installed; run it as root, and again after each update.
    It tells what it does, and overwrites no file that it has not written itself.
    /etc/cuberouted.conf is written only where there is none, all of it as comments.

    Exits with 1 if a file is in the way; then nothing is changed.
    """
    root = root.absolute()
    if root == Path("/") and not dry_run and os.geteuid() != 0:
        fail("run this as root: it writes below /usr/local and /etc", PROBLEM)
    os.umask(0o022)
    host = Host(root, dry_run, click.echo)
    group = cast("click.Group", context.find_root().command)
    try:
        if uninstall:
            _uninstall(host, group)
        else:
            _install(host, group)
    except (HostError, ProgramError) as error:
        fail(str(error), PROBLEM)


def _wanted(group: click.Group, path: str) -> list[File]:
    def source(name: str) -> str:
        return share(f"systemd/{name}").read_text("utf-8")

    return files(path, source, lambda shell: script(group, shell))


def _install(host: Host, group: click.Group) -> None:
    path = program()
    wanted = _wanted(group, str(path))
    found = {file.path: file.compare(host.read(file.path)) for file in wanted}
    obstacles = [
        *(f"{where}: {what}" for where, what in IN_THE_WAY if host.exists(where)),
        *(f"{p}: {f.value}" for p, f in found.items() if f in {Found.CHANGED, Found.FOREIGN}),
    ]
    if obstacles:
        fail(
            "\n".join(["in the way, so nothing was changed:", *obstacles])
            + "\nmove them away (changes of the unit belong into `systemctl edit cuberouted`),"
            " and run this again",
            PROBLEM,
        )
    changed = [file for file in wanted if found[file.path] is not Found.SAME]
    for file in changed:
        host.write(file.path, file.marked, new=found[file.path] is Found.MISSING)
    if not host.exists(CONFIG):
        host.write(CONFIG, share(EXAMPLE).read_text("utf-8"), new=True)
    if host.is_running:
        host.run("systemd-sysusers", str(SYSUSERS))
        host.run("systemd-tmpfiles", "--create", str(TMPFILES))
        host.run("systemctl", "daemon-reload")
    if not changed:
        host.tell("all files are as they should be")
    for line in _next(host, path):
        host.tell(line)


def _next(host: Host, path: Path) -> list[str]:
    """What to do next."""
    if not host.is_running:
        return ["systemd makes the user and the directories at the next boot"]
    if host.is_active():
        return ["to use this version: cuberouted graceful-restart && systemctl restart cuberouted"]
    on_path = any(
        Path(directory, "cuberouted").exists()
        for directory in os.environ.get("PATH", "").split(":")
    )
    link = [] if on_path else [f"  ln -s {path} /usr/local/bin/cuberouted"]
    return [
        "next:",
        *link,
        f"  edit {CONFIG}: {share(REFERENCE)} explains every key",
        "  cuberouted check",
        "  systemctl enable --now cuberouted",
    ]


def _uninstall(host: Host, group: click.Group) -> None:
    paths = [file.path for file in _wanted(group, "/")]
    texts = {path: text for path in paths if (text := host.read(path)) is not None}
    ours = [path for path, text in texts.items() if origin(text) is Found.OLDER]
    others = [path for path in texts if path not in ours]
    if host.is_running and UNIT in ours:
        host.run("systemctl", "disable", "--now", "cuberouted.service")
    if host.is_running and TEMPLATE in ours:
        if instances := host.instances():
            host.run("systemctl", "disable", "--now", *instances)
        host.run("systemctl", "stop", "cuberouted@*.service")
    for path in ours:
        host.remove(path)
    host.remove_empty(directories(ours))
    if host.is_running and ours:
        host.run("systemctl", "daemon-reload")
    if not ours:
        host.tell("nothing to remove: setup has installed nothing here")
    for line in (*_left(others, texts), *KEPT.splitlines()):
        host.tell(line)


def _left(paths: list[PurePosixPath], texts: dict[PurePosixPath, str]) -> list[str]:
    return [f"left {path}: {origin(texts[path]).value}" for path in paths]
