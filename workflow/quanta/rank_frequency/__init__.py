"""Sizes of clusters by rank, their slope, and exponents that need no clusters.

May import: corpus.
"""
