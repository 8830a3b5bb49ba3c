"""The commands of `skerry-agent`."""
