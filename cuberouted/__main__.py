"""`python -m cuberouted`, and the program `cuberouted`."""

import signal


def main() -> None:
    """Run the program."""
    # The default action of SIGHUP ends the process. While it is blocked, the kernel keeps it
    # pending: the daemon unblocks it once it can reload, the commands at once.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    from cuberouted.cli.main import run_program  # the imports are most of the start

    run_program()


if __name__ == "__main__":
    main()
