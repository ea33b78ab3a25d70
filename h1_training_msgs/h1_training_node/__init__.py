# SPDX-License-Identifier: Apache-2.0
"""What every node of the session shares: its main, its clock, its parameters, its events."""
