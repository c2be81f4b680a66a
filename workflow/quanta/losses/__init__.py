"""The loss of every token under every model, computed and kept.

May import: storage, corpus, models.
"""
