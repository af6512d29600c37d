"""Studies on disk: an SQLite file or a PostgreSQL database with everything a study knows.

`open_database` opens it, `Repository` reads and writes it. This floor knows nothing of torch,
samplers or reports; only `optuna_storage` imports Optuna.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
