"""`completion`: the scripts, in the shells that are installed."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cuberouted.check.catalogue import CHECKS
from cuberouted.cli.completion.scripts import SHELLS
from cuberouted.cli.context import WRONG_USAGE
from cuberouted.cli.main import main
from tests.fakes.cli import cli_runner

COMMANDS = {name for name, command in main.commands.items() if not command.hidden}

TIMEOUT = 30.0
"""Seconds for a shell to show something."""

CASES = [
    ("cuberouted dr", {"drain"}),
    ("cuberouted re", {"resume", "rebalance"}),
    ("cuberouted -c /tmp/x dr", {"drain"}),
    ("cuberouted drain --re", {"--reason"}),
    ("cuberouted drain --json --un", {"--until"}),
    ("cuberouted ccd --topology ", {"subnet", "net30"}),
    ("cuberouted completion z", {"zsh"}),
    ("cuberouted check --only f", {check for check in CHECKS if check.startswith("f")}),
    ("cuberouted why ", set()),
]
"""A line, and the words to which its last one is completed."""


def script(shell: str) -> str:
    done = cli_runner().invoke(main, ["completion", shell])
    assert done.exit_code == 0, done.output
    return done.stdout


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    for shell in SHELLS:
        (tmp_path / shell).write_text(script(shell), "utf-8")
    return tmp_path


def run(*argv: str, cwd: Path) -> str:
    done = subprocess.run(
        argv, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def bash_words(directory: Path, line: str) -> set[str]:
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    text = f"""
        compopt() {{ :; }}  # works only while a line is edited
        source ./bash
        COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}
        _cuberouted cuberouted
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    return set(run("bash", "--norc", "-c", text, cwd=directory).split())


@pytest.mark.parametrize(("line", "words"), CASES)
def test_bash_completes_a_line(scripts, line, words):
    assert bash_words(scripts, line) == words


def test_bash_completes_commands_options_and_files(scripts):
    (scripts / "some file").touch()
    assert bash_words(scripts, "cuberouted ") == COMMANDS
    assert {"--config", "--only", "--help"} < bash_words(scripts, "cuberouted check -")
    for line in ("-c some", "./so", "check some", "keygen --out some", "ccd some"):
        assert {"some", "file"} & bash_words(scripts, f"cuberouted {line}") or (
            bash_words(scripts, f"cuberouted {line}") == {"./some", "file"}
        )
    assert bash_words(scripts, "cuberouted drain some") == set()


def fish_words(directory: Path, line: str) -> set[str]:
    text = "source ./fish; complete -C $argv[1]"
    shown = run("fish", "--no-config", "-c", text, line, cwd=directory)
    return {word.split("\t")[0] for word in shown.splitlines()}


@needs("fish")
@pytest.mark.parametrize(("line", "words"), CASES)
def test_fish_completes_a_line(scripts, line, words):
    assert fish_words(scripts, line) == words


@needs("fish")
def test_fish_completes_commands_options_and_files(scripts):
    (scripts / "some.conf").touch()
    assert fish_words(scripts, "cuberouted ") == COMMANDS
    assert fish_words(scripts, "cuberouted ./so") == {"./some.conf"}
    assert {"--config", "--only", "--help"} < fish_words(scripts, "cuberouted check -")
    for line in ("-c some", "check some", "keygen --out some", "ccd some"):
        assert fish_words(scripts, f"cuberouted {line}") == {"some.conf"}
    assert fish_words(scripts, "cuberouted drain some") == set()


class Terminal:
    """A shell on a terminal: what is typed, and what it shows."""

    def __init__(self, master: int) -> None:
        self._master = master
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode("utf-8"))

    def wait_for(self, pattern: str) -> None:
        give_up_at = time.monotonic() + TIMEOUT
        while not re.search(pattern, self.shown):
            left = give_up_at - time.monotonic()
            assert select.select([self._master], [], [], max(left, 0.0))[0], repr(self.shown)
            self.shown += os.read(self._master, 4096).decode("utf-8", "replace")
        self.shown = ""


@contextmanager
def terminal(*argv: str, cwd: Path) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    env = {"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(cwd), "PS1": "> "}
    shell = subprocess.Popen(
        argv, cwd=cwd, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    try:
        yield Terminal(master)
    finally:
        shell.kill()
        shell.wait()
        os.close(master)


def press_tab(typed: Terminal) -> None:
    typed.wait_for("ready")
    typed.type("cuberouted dr\t")
    typed.wait_for("ain ")
    typed.type("--rea\t")
    typed.wait_for("son ")


def test_tab_completes_in_bash(scripts):
    with terminal("bash", "--norc", "--noprofile", "-i", cwd=scripts) as typed:
        typed.type("source ./bash; echo re''ady\n")
        press_tab(typed)


@needs("zsh")
def test_tab_completes_in_zsh(scripts):
    with terminal("zsh", "-f", "-i", cwd=scripts) as typed:
        typed.type("autoload -U compinit; compinit -u -D; source ./zsh; echo re''ady\n")
        press_tab(typed)
        typed.type("\x15cuberouted ccd --topology su\t")
        typed.wait_for("bnet ")
        typed.type("\x15cuberouted re\t")
        typed.wait_for(r"rebalance +-- Send some of this server's clients on")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_does_not_depend_on_the_order_of_names(shell, monkeypatch):
    before = script(shell)
    monkeypatch.setitem(main.context_settings, "help_option_names", ["--help", "-h"])
    assert script(shell) == before


def test_another_shell_is_wrong_usage():
    done = cli_runner().invoke(main, ["completion", "tcsh"])
    assert done.exit_code == WRONG_USAGE
    assert "'bash', 'zsh', 'fish'" in done.stderr
