"""The scripts for bash, zsh and fish.

Only bash needs care for speed, as it has no completion of options of its own: one function, no
subprocess. No word of a script comes from outside the program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from cuberouted.cli.completion.words import PROGRAM, Command, Option, Values

# -- bash --

_BASH = """\
# bash completion for {program}
_{program}() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
    local command= words= options= files= i IFS=$' \t\n'
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
        {common}) ((i++)) ;;
        -*) ;;
        *)
            command=${{COMP_WORDS[i]}}
            break
            ;;
        esac
    done
    case $command:$before in
{values}
    *)
        case $command in
{commands}
        *) files=yes ;; # the configuration of the daemon
        esac
        [[ $current == -* ]] && words=$options files=
        ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    if [[ $files && ! ${{COMPREPLY[0]}} ]]; then
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    fi
}}
complete -F _{program} {program}
"""


def bash(commands: Sequence[Command]) -> str:
    """For bash 4.4 or newer, with or without the package bash-completion."""
    program, *others = commands
    names = " ".join(command.name for command in others)
    return _BASH.format(
        program=PROGRAM,
        common="|".join(_with_value(program)),
        values="\n".join(line for command in commands for line in _bash_values(command)),
        commands="\n".join(
            f'        "{command.name}")'
            f" words='{_argument_words(command) or ('' if command.name else names)}'"
            f" options='{' '.join(_names(command))}'"
            f"{' files=yes' if command.files or not command.name else ''} ;;"
            for command in commands
        ),
    )


def _bash_values(command: Command) -> Iterator[str]:
    for option in command.options:
        if option.value is not None:
            pattern = "|".join(f'"{command.name}:{name}"' for name in option.names)
            files = " files=yes" if option.value.files else ""
            yield f"    {pattern}) words='{' '.join(option.value.words)}'{files} ;;"


# -- zsh --

_ZSH = """\
#compdef {program}
# zsh completion for {program}
_{program}() {{
    local curcontext=$curcontext state line
    typeset -A opt_args
    local -a commands=(
{names}
    )
    _arguments -C \\
{options}
        '1: :->command' '*:: :->arguments'
    case $state in
    command)
        _describe -t commands command commands
        [[ $PREFIX == */* ]] && _files
        ;;
    arguments)
        case $line[1] in
{commands}
        esac
        ;;
    esac
}}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _{program} "$@"
else
    compdef _{program} {program}
fi
"""


def zsh(commands: Sequence[Command]) -> str:
    """For zsh 5, as the file _cuberouted in a directory of ``fpath``, or sourced."""
    program, *others = commands
    return _ZSH.format(
        program=PROGRAM,
        names="\n".join(
            f"        {_quoted(f'{_escaped(command.name)}:{command.help}')}" for command in others
        ),
        options="\n".join(f"        {spec} \\" for spec in map(_zsh_option, program.options)),
        commands="\n".join(
            line
            for command in others
            for line in (
                f"        {command.name})",
                f"            _arguments {' '.join(_zsh_specs(command))}",
                "            ;;",
            )
        ),
    )


def _zsh_specs(command: Command) -> Iterator[str]:
    yield from map(_zsh_option, command.options)
    for number, argument in enumerate(command.arguments, 1):
        yield _quoted(f"{number}: :{_zsh_action(argument)}")


def _zsh_option(option: Option) -> str:
    names = option.names
    exclusive = "*" if option.repeatable else f"({' '.join(names)})"
    text = option.help.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    value = "" if option.value is None else f": :{_zsh_action(option.value)}"
    if len(names) == 1:
        return _quoted(f"{exclusive}{names[0]}[{text}]{value}")
    return f"{_quoted(exclusive)}{{{','.join(names)}}}{_quoted(f'[{text}]{value}')}"


def _zsh_action(values: Values) -> str:
    if values.files:
        return "_files"
    return f"({' '.join(values.words)})" if values.words else " "


def _escaped(text: str) -> str:
    return text.replace(":", "\\:")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# -- fish --

_FISH = """\
# fish completion for {program}
function __{program}_command_is
    set -l value no
    set -l command
    for word in (commandline -opc)[2..-1]
        if test $value = yes
            set value no
            continue
        end
        switch $word
            case {common}
                set value yes
            case '-*'
            case '*'
                set command $word
                break
        end
    end
    test "$command" = "$argv[1]"
end
complete -c {program} -f
complete -c {program} -n '__{program}_command_is "" && string match -q "*/*" (commandline -ct)' -F
"""


def fish(commands: Sequence[Command]) -> str:
    """For fish 3."""
    program, *others = commands
    lines = [
        f"{_fish_line('')} -a {command.name} -d {_fish_quoted(command.help)}" for command in others
    ]
    for command in commands:
        lines += _fish_command(command)
    head = _FISH.format(program=PROGRAM, common=" ".join(_with_value(program)))
    return head + "\n".join(lines) + "\n"


def _fish_command(command: Command) -> Iterator[str]:
    start = _fish_line(command.name)
    for option in command.options:
        names = " ".join(
            f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
        )
        value = ""
        if option.value is not None:
            words = _fish_quoted(" ".join(option.value.words))
            value = " -r -F" if option.value.files else f" -x -a {words}"
        yield f"{start} {names}{value} -d {_fish_quoted(option.help)}"
    if command.files:
        yield f"{start} -F"
    words = _argument_words(command)
    if words:
        yield f"{start} -a {_fish_quoted(words)}"


def _fish_line(command: str) -> str:
    return f"complete -c {PROGRAM} -n " + _fish_quoted(f'__{PROGRAM}_command_is "{command}"')


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


# -- all --


def _names(command: Command) -> Iterator[str]:
    for option in command.options:
        yield from option.names


def _argument_words(command: Command) -> str:
    return " ".join(word for argument in command.arguments for word in argument.words)


def _with_value(command: Command) -> Iterator[str]:
    for option in command.options:
        if option.value is not None:
            yield from option.names


SHELLS: Mapping[str, Callable[[Sequence[Command]], str]] = MappingProxyType(
    {"bash": bash, "zsh": zsh, "fish": fish}
)
"""What makes the script of each shell."""
