"""What each cluster is: its tokens in context, a rule for them, when it is learned.

May import: storage, corpus, clustering.
"""
