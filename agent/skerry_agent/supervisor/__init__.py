"""The resident process: its loop, its link to the host, and what it hears and says there and on the spot."""
