"""`python -m nas` is the `nas` command."""

from nas.cli.main import entry_point

entry_point()
