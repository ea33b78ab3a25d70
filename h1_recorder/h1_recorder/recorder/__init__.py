# SPDX-License-Identifier: Apache-2.0
"""Journals what arrives, and turns a journal into an episode on request."""
