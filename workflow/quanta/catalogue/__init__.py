"""What a cluster is: tokens in context, a rule, when it is learned.

May import: storage, corpus, clustering.
"""
