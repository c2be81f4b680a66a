"""From texts to documents to tokens, and which are held out.

May import: storage.
"""
