"""The fleet's own certificate authority, what it signs, and the files that plane and broker need of it."""
