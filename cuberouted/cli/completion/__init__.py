"""Completion of commands, options and values in bash, zsh and fish.

The scripts are static text, made from click's commands: a shell completes without starting Python,
and every version of click gives the same file.
"""
