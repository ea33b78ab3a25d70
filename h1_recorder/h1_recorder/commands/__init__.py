"""The verbs of the `episodes` command, a module each: `HELP`, `add_arguments(parser)`, `run(arguments)`."""
