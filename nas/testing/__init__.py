"""What methods are judged on: landscapes with planted rules, and what counts as finding them.

For tests, benchmarks and people who try a method of their own; no part of a study.
"""
