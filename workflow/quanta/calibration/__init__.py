"""The exponent by simulation of planted quanta."""
