"""The quantization model in closed form, and other accounts of scaling."""
