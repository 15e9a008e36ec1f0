"""`cuberouted check`: is the configuration right, and would it work on this host?"""
