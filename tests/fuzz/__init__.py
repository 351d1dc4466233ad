"""A fuzzer of model files: mutates small models, and judges what becomes of each.

``python -m tests.fuzz 10000`` runs that many cases. A case is a number, so each can be had again:
``python -m tests.fuzz 1 --first NUMBER``.
"""
