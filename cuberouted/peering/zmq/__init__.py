"""ZeroMQ: the transport between peers."""
