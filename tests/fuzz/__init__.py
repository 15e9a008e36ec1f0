"""Every byte that comes from outside, and what must hold whatever it is."""
