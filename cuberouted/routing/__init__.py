"""Everything that knows routes: what is believed, what is best, and what the kernel holds."""
