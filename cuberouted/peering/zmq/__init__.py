"""The transport between peers over ZeroMQ."""
