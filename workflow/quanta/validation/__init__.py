"""Whether clusters are real: null models, resampling, other models."""
