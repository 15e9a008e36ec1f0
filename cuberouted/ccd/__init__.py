"""`cuberouted ccd`: the files of a client-config-dir, made from a hosts file."""
