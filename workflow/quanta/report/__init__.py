"""What a reader sees: figures, page, the paper's numbers beside the run's.

May import: storage, corpus, affinity, clustering, rank_frequency, catalogue.
"""
