"""Multitask sparse parity: nets, fits, and clusters held against known tasks.

May import: storage, affinity, clustering, rank_frequency, calibration, theory.
"""
