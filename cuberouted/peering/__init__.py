"""Everything that knows peers: what they are told, what they tell, whether they live."""
