"""Spaces, studies and stages: what is searched, in which order, and who plans the next batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from nas.errors import StorageError, StudyError, unknown_name
from nas.files.names import NAME_RULE, is_study_name
from nas.files.plain import JsonDict, clean, content_id
from nas.spaces.sites import be_told
from nas.storage.base import AnyRow, RepositoryPart, insert_missing
from nas.storage.clock import database_now
from nas.storage.models import STAGE_STATUSES, Environment, SpaceRow, Stage, StudyRow
from nas.storage.records import SpaceInfo, StageInfo, StudyInfo
from nas.storage.retry import damaged

_STUDY_COLUMNS = [getattr(StudyRow, field.name) for field in fields(StudyInfo)]
SPACE_COLUMNS = [getattr(SpaceRow, field.name) for field in fields(SpaceInfo)]
_STAGE_COLUMNS = [getattr(Stage, field.name) for field in fields(StageInfo)]
LONGEST_PLANNING_S = 600.0
_UNCHANGED: Any = object()


def check_study_name(name: str) -> None:
    """Refuses a name that no study file could have."""
    if not is_study_name(name):
        raise StudyError(f"{name!r} cannot be the name of a study", NAME_RULE)


class Studies(RepositoryPart):
    """Studies, their stages and their spaces."""

    def ensure_environment(self, facts: JsonDict) -> str:
        """Stores where numbers are made; returns its id, a hash of the content."""
        environment_id = content_id(facts)
        row = {"id": environment_id, "facts": clean(facts)}
        self.write(lambda session: insert_missing(session, Environment, [row]))
        return environment_id

    def ensure_space(
        self,
        space_id: str,
        name: str,
        size: int,
        definition: JsonDict,
        *,
        parent_id: str | None = None,
        rules: Sequence[object] = (),
    ) -> None:
        """Stores a design space once; `rules` are those that made it from its parent."""
        row = {
            "id": space_id,
            "name": name,
            "size": str(size),
            "definition": clean(definition),
            "parent_id": parent_id,
            "rules": clean(rules),
        }

        def work(session: Session) -> None:
            insert_missing(session, SpaceRow, [row])
            stored = session.get_one(SpaceRow, space_id)
            if stored.definition != row["definition"]:  # filed under this id by an archive: what is known here holds
                stored.definition, stored.size = row["definition"], row["size"]

        self.write(work)

    def space(self, space_id: str) -> SpaceInfo | None:
        """A stored space."""
        rows = self.rows(select(*SPACE_COLUMNS).where(SpaceRow.id == space_id))
        return space_info(rows[0]) if rows else None

    def ensure_study(self, name: str, definition: JsonDict, seed: int, space_id: str | None) -> int:
        """Stores a study or finds it again; returns its id. A changed definition replaces the stored one."""
        row = {"name": name, "definition": clean(definition), "seed": seed, "space_id": space_id}

        def work(session: Session) -> int:
            insert_missing(session, StudyRow, [row])
            study = session.scalars(select(StudyRow).filter_by(name=name)).one()
            if study.definition != row["definition"]:
                study.definition, study.seed, study.space_id = row["definition"], seed, space_id
            return study.id

        return self.write(work)

    def study(self, name: str) -> StudyInfo:
        """A study by name; a `StudyError` where there is none lists those there are."""

        def work(session: Session) -> StudyInfo:
            row = session.execute(select(*_STUDY_COLUMNS).where(StudyRow.name == name)).one_or_none()
            if row is None:
                known = session.scalars(select(StudyRow.name)).all()
                raise StudyError(unknown_name("study", name, known), f"database: {self.database.url}")
            info = self._study_info(row)
            be_told(info.definition.get("space"))
            return info

        return self.read(work)

    def studies(self) -> list[StudyInfo]:
        """All studies, oldest first."""
        return [self._study_info(row) for row in self.rows(select(*_STUDY_COLUMNS).order_by(StudyRow.id))]

    def _study_info(self, row: AnyRow) -> StudyInfo:
        if not isinstance(row.definition, dict):
            raise damaged(self.database.url, f"the definition of the study {row.name!r} is {row.definition!r:.60}")
        return StudyInfo(**row._mapping)

    def set_study_latency(self, study_id: int, protocol_id: str, device: str) -> None:
        """Says which latency figures the study speaks of: one protocol on one device."""
        values = {"protocol_id": protocol_id, "device": device}
        self.run(update(StudyRow).filter_by(id=study_id).values(values))

    def ensure_stage(self, study_id: int, position: int, name: str, kind: str, settings: JsonDict) -> int:
        """Stores a stage or finds it again; returns its id. Another one at this position is a `StudyError`."""
        row = {"study_id": study_id, "position": position, "name": name, "kind": kind, "settings": clean(settings)}

        def work(session: Session) -> int:
            insert_missing(session, Stage, [row])
            found = session.scalars(select(Stage).filter_by(study_id=study_id, position=position)).one_or_none()
            if found is None or (found.name, found.kind) != (name, kind):
                raise StudyError(
                    f"stage {position} of this study was {found.name if found else 'elsewhere'!r}, now it is {name!r}",
                    "give the study another name, or put its stages back in their order",
                )
            if found.status == "waiting":
                found.settings = row["settings"]
            return found.id

        return self.write(work)

    def stages(self, study_id: int) -> list[StageInfo]:
        """The stages of a study in their order."""
        query = select(*_STAGE_COLUMNS).where(Stage.study_id == study_id).order_by(Stage.position)
        return [StageInfo(**row._mapping) for row in self.rows(query)]

    def stage(self, stage_id: int) -> StageInfo:
        """A stage by id."""
        query = select(*_STAGE_COLUMNS).where(Stage.id == stage_id)
        return StageInfo(**self.read(lambda session: session.execute(query).one())._mapping)

    def set_stage(
        self,
        stage_id: int,
        *,
        status: str = _UNCHANGED,
        space_id: str | None = _UNCHANGED,
        result: JsonDict | None = _UNCHANGED,
    ) -> None:
        """Changes what is given; `running` and `finished` set the stage's times (once) as well.

        Raises:
            StorageError: `status` is not one of waiting, running, finished, failed.
        """
        if status is not _UNCHANGED and status not in STAGE_STATUSES:
            raise StorageError(unknown_name("stage status", str(status), STAGE_STATUSES))

        def work(session: Session) -> None:
            stage = session.get_one(Stage, stage_id, with_for_update=True)
            for name, value in {"status": status, "space_id": space_id, "result": result}.items():
                if value is not _UNCHANGED:
                    setattr(stage, name, clean(value))
            now = session.scalar(select(database_now()))
            if stage.started_at is None and stage.status != "waiting":
                stage.started_at = now
            stage.finished_at = (stage.finished_at or now) if stage.status in ("finished", "failed") else None

        self.write(work)

    def lease_stage(self, stage_id: int, owner: str, seconds: float = 60.0) -> bool:
        """Takes or extends the right to plan a stage; False while somebody else holds it."""
        now = database_now()
        free = (Stage.planner.is_(None)) | (Stage.planner == owner) | (Stage.planner_until < now)
        taken = (
            update(Stage)
            .where(Stage.id == stage_id, free)
            .values(planner=owner, planner_until=now + seconds)
            .returning(Stage.id)
        )
        # Longer than leases are: the clock was set back since. A planner that lives renews it, a dead one's runs out.
        longest = now + max(seconds, LONGEST_PLANNING_S)
        shortened = update(Stage).where(Stage.id == stage_id, Stage.planner_until > longest)

        def work(session: Session) -> bool:
            session.execute(shortened.values(planner_until=longest))
            return session.scalar(taken) is not None

        return self.write(work)

    def release_stage(self, stage_id: int, owner: str) -> None:
        """Gives the planning right back, if it is still this owner's."""
        freed = update(Stage).filter_by(id=stage_id, planner=owner).values(planner=None, planner_until=None)
        self.run(freed)

    @contextmanager
    def stage_lock(self, stage_id: int, owner: str, seconds: float = 60.0) -> Iterator[bool]:
        """`with repository.stage_lock(...) as mine:` - True when this owner may plan the stage now.

        A planner that takes longer than `seconds` calls `lease_stage` again in between.
        """
        mine = self.lease_stage(stage_id, owner, seconds)
        try:
            yield mine
        finally:
            if mine:
                self.release_stage(stage_id, owner)


def space_info(row: AnyRow) -> SpaceInfo:
    """A row of `SPACE_COLUMNS`."""
    return SpaceInfo(**{**row._mapping, "size": int(row.size)})
