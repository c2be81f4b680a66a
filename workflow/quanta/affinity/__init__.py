"""How similar two tokens' gradients are: cosines, sketched or exact.

May import: storage, corpus, gradients.
"""
