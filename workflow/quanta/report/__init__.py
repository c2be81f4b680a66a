"""Figures, the page, and the run's numbers next to the paper's.

May import: storage, corpus, affinity, clustering, rank_frequency, scaling, validation, catalogue, parity.
"""
