# SPDX-License-Identifier: Apache-2.0
"""Datasets, videos and figures made from episodes."""
