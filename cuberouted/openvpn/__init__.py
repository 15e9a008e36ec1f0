"""Everything about OpenVPN processes: their management protocol, listings and sessions."""
