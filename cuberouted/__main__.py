"""`python -m cuberouted`, and the program `cuberouted`."""

from cuberouted.util.hangup import EarlyHangup


def main() -> None:
    """Run the program."""
    EarlyHangup.install()  # before the imports, which take most of the start
    from cuberouted.cli.main import main as cli

    cli(prog_name="cuberouted")


if __name__ == "__main__":
    main()
