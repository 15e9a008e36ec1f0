"""The API over TCP, for reading: the door, the listener, health and the page."""
