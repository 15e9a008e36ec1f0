"""`python -m cuberouted`."""

from cuberouted.cli.main import main

main(prog_name="cuberouted")
