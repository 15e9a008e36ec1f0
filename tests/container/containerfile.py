"""Reads a Containerfile: the instructions that ours has, and no others."""

from __future__ import annotations

import json
import re
import shlex

import attrs


@attrs.frozen
class Step:
    """RUN ``arguments[0]`` in ``directory``; or COPY all but the last argument to the last.

    ``stage``: from which one is copied; empty: from the project.
    """

    name: str
    arguments: tuple[str, ...]
    directory: str = "/"
    stage: str = ""


@attrs.define
class Stage:
    """``command``: what a container runs."""

    name: str
    image: str
    steps: list[Step] = attrs.field(factory=list)
    command: list[str] = attrs.field(factory=list)


def parse(text: str) -> list[Stage]:
    """The stages of a Containerfile.

    Raises:
      ValueError: it has an instruction that is not known here.
    """
    stages: list[Stage] = []
    directory = "/"
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, text.splitlines()):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            image, *alias = rest.split()
            stages.append(Stage(alias[-1] if alias else "", image))
            directory = "/"
        elif name == "WORKDIR":
            directory = rest
        elif name == "RUN":
            stages[-1].steps.append(Step(name, (rest,), directory))
        elif name == "COPY":
            words = shlex.split(rest)
            stage = words.pop(0).removeprefix("--from=") if rest.startswith("--from=") else ""
            stages[-1].steps.append(Step(name, tuple(words), directory, stage))
        elif name in {"ENTRYPOINT", "CMD"}:
            stages[-1].command += json.loads(rest)
        else:
            raise ValueError(f"unknown instruction {line!r}")
    return stages
