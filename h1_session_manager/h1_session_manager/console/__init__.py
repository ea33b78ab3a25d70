# SPDX-License-Identifier: Apache-2.0
"""The session on one screen of a terminal."""
