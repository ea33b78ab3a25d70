# SPDX-License-Identifier: Apache-2.0
"""The session on one screen of a terminal."""

import os

# Read by textual when it is imported, so set before any module here does: kitty's protocol would turn Ctrl+C from a
# signal, which is the emergency stop, into a mere key.
os.environ["TEXTUAL_DISABLE_KITTY_KEY"] = "1"
