"""The exponent by simulation of planted quanta.

May import: storage, clustering, rank_frequency.
"""
