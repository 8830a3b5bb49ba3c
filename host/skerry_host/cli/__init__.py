"""The commands: parse arguments, call, print. The only place that turns errors into exit codes."""
