"""Files: written atomically, checked when read, fetched at a pinned hash; and code read as a file.

May import: no other package.
"""
