# SPDX-License-Identifier: Apache-2.0
"""The policy: openpi's wire protocol, observations, action chunks."""
