"""The daemon: where OpenVPN, peers and routes meet, and the process around them."""
