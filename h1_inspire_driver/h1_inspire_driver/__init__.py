# SPDX-License-Identifier: Apache-2.0
"""The Inspire hands over Modbus TCP."""
