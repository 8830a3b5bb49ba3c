"""Which agent starts: the one in the base environment, or one that was installed later as an agent release.

Only the standard library, and little of that: this runs before the agent, and in its place where that does not start.
`table` decides, `files` keeps the record, `watch` ends a candidate that is late, `start` becomes the agent. Installs
nothing, and asks nobody but the record on the disk.
"""
