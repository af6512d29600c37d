"""What a study found, for people: figures, tables, static reports and the live dashboard.

Everything here draws from one plain value object, `StudyData`; only `loading` knows the database.
Names are imported on first use, so that `import nas.reporting` stays cheap.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
