"""What a running daemon reports, and the control socket over which it does."""
