"""Which tokens are clustered, and the gradients of their losses.

May import: storage, corpus, models, losses.
"""
