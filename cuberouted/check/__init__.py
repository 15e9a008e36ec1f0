"""`cuberouted check`: checks the configuration, and whether it works on this host."""
