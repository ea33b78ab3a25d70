# SPDX-License-Identifier: Apache-2.0
"""The verbs of the `episodes` command: each module has its `VERBS`, see `files.Verb`."""
