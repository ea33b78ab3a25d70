# SPDX-License-Identifier: Apache-2.0
"""The session: state machine, poller, uploader, keyboard."""
