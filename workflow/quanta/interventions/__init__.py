"""What a group of tokens is made of: the weights are moved along the gradient of one half, and the others are looked at.

May import: corpus, models, losses, gradients, clustering.
"""
