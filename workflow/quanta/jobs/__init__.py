"""The only package that knows Snakemake and Slurm: running, rerun hashes, recovery, locks.

May import: storage.
"""
