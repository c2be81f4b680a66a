"""The quantization model in closed form, other accounts of scaling, published exponents.

May import: storage.
"""
