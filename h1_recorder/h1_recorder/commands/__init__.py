# SPDX-License-Identifier: Apache-2.0
"""The verbs of the `episodes` command, a module each: `HELP`, `add_arguments(parser)`, `run(arguments)`."""
