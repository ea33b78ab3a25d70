# SPDX-License-Identifier: Apache-2.0
"""A policy server that trains: serves a policy on openpi's wire, and turns uploaded episodes into new weights."""

import os

# Before numpy is loaded: a second thread of its linear algebra spins on a core that somebody else needs.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
