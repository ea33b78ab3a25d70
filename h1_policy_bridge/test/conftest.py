# SPDX-License-Identifier: Apache-2.0
"""The tests run in a ROS domain of their own, and may ask for a `graph`."""

from h1_training_testing import graph as graph
