"""Everything about peers: the routes advertised to and received from them, and their state."""
