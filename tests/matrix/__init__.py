"""The versions that cuberouted is tested with besides the newest: `make matrix`."""
