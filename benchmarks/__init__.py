"""Benchmarks, and the plain reference that tests and benchmarks compare with."""
