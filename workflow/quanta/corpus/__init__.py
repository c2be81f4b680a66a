"""From texts to documents to tokens, and which of them were held out.

May import: storage.
"""
