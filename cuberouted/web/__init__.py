"""The API over TCP, for reading: its request filter, the listener, health and the page."""
