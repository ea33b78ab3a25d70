# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for robot, hands, cameras, policy server and operator, behind the real wires."""
