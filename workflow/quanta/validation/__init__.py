"""Whether clusters are real: null models, resampling, other models.

May import: corpus, affinity, clustering, rank_frequency, calibration.
"""
