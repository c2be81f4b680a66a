"""How alike the gradients of two tokens are: cosines, sketched or exact, and cosines of loss curves.

May import: storage, corpus, gradients.
"""
