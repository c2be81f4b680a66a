"""Losses over model size and steps: mean, single tokens, other seeds.

May import: corpus.
"""
