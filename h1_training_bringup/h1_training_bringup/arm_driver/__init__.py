# SPDX-License-Identifier: Apache-2.0
"""The arms without ROS: wire, model, limits, modes. `arm_driver_node` and `arm_guard_node` are their shells."""
