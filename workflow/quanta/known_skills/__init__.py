"""Data sets with known skills, and a benchmark of ways to find them.

May import: storage, models, gradients, affinity, clustering, parity.
"""
