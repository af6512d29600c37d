"""The live dashboard: the same figures as the report, drawn from the database while a study runs. Never writes.

`create_app` makes the Dash application; `nas dashboard` serves it on 127.0.0.1.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
