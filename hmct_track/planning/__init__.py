"""Planning mixed precision: moves and their prices, targets, and the search. Nothing here measures.

`moves` says what may change and what it costs, `target` what is asked for and how a measured value
stands to it, `search` which states to measure next.
"""
