"""Files, whatever is in them: YAML with places, plain JSON, hashes, whole-file writes, locks.

The lowest floor beside errors: knows nothing of networks, studies or databases.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
