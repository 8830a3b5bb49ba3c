"""The resident process: its loop, its link to the broker, the host's orders, reports, and the local socket."""
