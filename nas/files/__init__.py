"""Files, whatever is in them: YAML with places, plain JSON, hashes, whole-file writes, locks.

The lowest floor beside errors: knows nothing of networks, studies or databases.
"""
