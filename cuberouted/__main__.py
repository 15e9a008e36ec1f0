"""`python -m cuberouted`."""

from cuberouted.cli import main

main(prog_name="cuberouted")
