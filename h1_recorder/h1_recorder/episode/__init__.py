# SPDX-License-Identifier: Apache-2.0
"""The 50 Hz episode: its rows, its file, reading and checking it."""
