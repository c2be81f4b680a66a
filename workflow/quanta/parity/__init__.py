"""Multitask sparse parity: nets, fits, and clusters held against known tasks."""
