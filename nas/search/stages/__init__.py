"""The kinds of stages a study is made of, and which handler does which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.search.stages.auto import AutoShrink
from nas.search.stages.base import Preview, StageHandler
from nas.search.stages.confirm import Confirm
from nas.search.stages.given import WithGiven
from nas.search.stages.pretrain import Pretrain
from nas.search.stages.profile import Profile
from nas.search.stages.rule_test import RuleTest
from nas.search.stages.search import Search
from nas.search.stages.shrink import Shrink
from nas.search.stages.start import TrainStarts
from nas.search.stages.sweep import Sweep
from nas.search.stages.tune import Tune

if TYPE_CHECKING:
    from nas.search.definition import StudyDefinition
    from nas.storage import StageInfo

HANDLERS: dict[str, StageHandler] = {
    "profile": Profile(),
    "tune": Tune(),
    "pretrain": Pretrain(),
    "start": TrainStarts(),
    "sweep": WithGiven(Sweep()),
    "shrink": WithGiven(Shrink()),
    "auto_shrink": WithGiven(AutoShrink()),
    "search": WithGiven(Search()),
    "confirm": Confirm(),
    "test_rules": WithGiven(RuleTest()),
}

__all__ = ["HANDLERS", "Preview", "StageHandler", "settings_of"]


def settings_of(definition: StudyDefinition, stage: StageInfo) -> object:
    """The settings model of a stored stage."""
    return definition.named_stages()[stage.position].settings
