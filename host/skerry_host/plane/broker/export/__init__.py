"""The same access rules, written for brokers that somebody else runs. Pure: texts out of rules, no files.

A broker's module says all that it needs at once: what is written once (`setup`), and what changes with the rules
(`rules`). A file `rules.label` is written last, and watched by a systemd unit that has the broker read the rest.
"""
