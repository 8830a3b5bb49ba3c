"""`python -m skerry_agent`, and what `skerry-agent` calls: becomes the agent that is to run, then its commands."""

import sys

from skerry_agent.launch.start import launch


def main() -> None:
    """Run a command of the agent that is to run; what does not come back from `launch` has become another one."""
    launch(sys.argv[1:])
    from skerry_agent.cli.main import main as commands  # noqa: PLC0415 - another agent brings its own

    commands()


if __name__ == "__main__":
    main()
