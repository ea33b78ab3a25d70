# SPDX-License-Identifier: Apache-2.0
"""Starts the session: launch and configuration, the robot's own drivers, the simulation."""
