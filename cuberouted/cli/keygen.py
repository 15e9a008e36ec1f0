"""`cuberouted keygen`."""

from __future__ import annotations

from pathlib import Path

import click

from cuberouted.cli.context import FILE, PROBLEM, fail

DEFAULT_KEY = Path("/etc/credstore/cuberouted-key")


@click.command(short_help="Create a key pair.")
@click.option(
    "--out",
    type=FILE,
    default=DEFAULT_KEY,
    show_default=True,
    help="The file for the secret key; an existing file is not overwritten.",
)
def keygen(out: Path) -> None:
    """Create a key pair: the secret key is written to a file, the public key is printed.

    The public key goes into the configuration of every peer, as public_key.
    """
    from cuberouted.config import keypair

    public, secret = keypair.generate()
    try:
        keypair.write_secret(out, secret)
    except keypair.KeyFileError as error:
        fail(str(error), PROBLEM)
    click.echo(f"{out}: our secret key; our public key, for the peers:", err=True)
    click.echo(public.decode())
