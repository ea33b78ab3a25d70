# SPDX-License-Identifier: Apache-2.0
"""Keys from a terminal or a joystick."""
