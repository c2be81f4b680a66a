"""Losses over size and steps: mean loss, single tokens, what recurs with another seed.

May import: corpus.
"""
