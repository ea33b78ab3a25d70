# SPDX-License-Identifier: Apache-2.0
"""Journal, episode file, and the tools for them."""
