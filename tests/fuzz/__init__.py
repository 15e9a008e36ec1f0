"""Every parser of outside input, and what must hold for any bytes."""
