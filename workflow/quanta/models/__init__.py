"""The family of models: weights, loading, its table, training.

May import: storage.
"""
