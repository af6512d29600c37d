"""Studies: from a study file to trainings, stage by stage, over any number of workers.

`definition` reads the file, `stages` decide what to train or measure next, `proposals` choose
candidates, `worker` does the work and `runner` starts workers and watches them. Numbers go to
`nas.storage`; rules are derived in `nas.shrinking`; pictures are drawn in `nas.reporting`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
