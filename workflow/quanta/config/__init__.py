"""The checked configuration, and what follows from it before any job.

May import: storage, corpus, models.
"""
