"""What runs on the stand-in is collected there alone (`gpu_standin.inside`)."""

from __future__ import annotations

import os

collect_ignore = [] if "libfakecuda" in os.environ.get("LD_PRELOAD", "") else ["inside", "standin"]
