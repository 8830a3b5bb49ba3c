"""`python -m skerry_host.cli` is `skerry`."""

from skerry_host.cli.main import main

main()
