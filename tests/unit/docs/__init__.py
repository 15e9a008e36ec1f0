"""The documents: what is generated for them, and what they have to contain."""
