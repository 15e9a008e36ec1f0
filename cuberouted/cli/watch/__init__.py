"""`cuberouted watch`: the live view.

`mesh` is what is known of the mesh, `keys` reads the keyboard, `model` is what is shown of the
mesh and what keys do, `screen` renders it: these only compute. `feed` keeps `mesh` up to date
from the daemon, `terminal` has the terminal, `command` puts them together.
"""
