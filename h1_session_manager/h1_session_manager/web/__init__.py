# SPDX-License-Identifier: Apache-2.0
"""The page beside the robot: an ASGI application in a process of its own, fed by topics, asking as every key does."""
