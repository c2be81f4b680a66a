"""Multitask sparse parity: nets, fits, and clusters compared with known tasks.

May import: storage, affinity, clustering, rank_frequency, calibration, theory.
"""
