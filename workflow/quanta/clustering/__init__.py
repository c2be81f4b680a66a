"""From affinity to eigenvectors to labels.

May import: storage, affinity.
"""
