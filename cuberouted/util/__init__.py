"""Small helpers without knowledge of OpenVPN, peers or routes."""
