"""The `nas` command: one thin module a command group - parse, call, print."""
