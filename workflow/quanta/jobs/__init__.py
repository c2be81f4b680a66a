"""The only room that knows Snakemake and Slurm: running, rerun hashes, recovery, locks.

May import: storage.
"""
