"""Quanta: find the discrete skills that a family of language models is made of.

The library holds the science and knows nothing of Snakemake; `workflow/scripts/` reads files, calls it and writes
files. Importing the package imports none of its modules: Snakemake does so in every job, and torch costs seconds.
"""

__version__ = "0.1.0"
