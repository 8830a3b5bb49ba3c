"""What a person types: each command of `skerry-agent`."""
