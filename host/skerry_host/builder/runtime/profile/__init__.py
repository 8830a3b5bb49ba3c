"""Where the time of one inference goes, operator by operator, on this machine."""
