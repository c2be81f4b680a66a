"""Which groups of tokens can be taken away alone: weights move along the gradient of one half.

May import: corpus, models, losses, gradients, clustering.
"""
