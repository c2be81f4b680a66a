"""Which groups of tokens can be removed alone, by moving the weights.

May import: corpus, models, losses, gradients, clustering.
"""
