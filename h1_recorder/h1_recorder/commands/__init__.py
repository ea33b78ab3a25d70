"""The verbs of the `episodes` command, a module each: `ADDS` arguments to a parser and runs."""
