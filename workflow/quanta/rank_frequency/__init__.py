"""Cluster sizes by rank, their slope, and exponents without clusters.

May import: corpus.
"""
