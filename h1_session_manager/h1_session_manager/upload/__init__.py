# SPDX-License-Identifier: Apache-2.0
"""Episodes to the training host by rsync, each proved to have arrived."""
