"""`python -m skerry_agent`, and what `skerry-agent` calls: the commands are in `cli`."""

from skerry_agent.cli.main import main

if __name__ == "__main__":
    main()
