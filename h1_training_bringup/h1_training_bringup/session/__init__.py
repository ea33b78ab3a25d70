# SPDX-License-Identifier: Apache-2.0
"""The session's processes as data, their configuration, and what starts and ends them."""
