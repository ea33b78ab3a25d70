# SPDX-License-Identifier: Apache-2.0
"""The robot's head camera over ZeroMQ: what arrives, what is believed of it, and how it is cut. No ROS."""
