"""Everything that knows OpenVPN."""
