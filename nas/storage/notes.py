"""What a person noted of the candidates of a study: a star, tags, a comment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from nas.errors import NasError, StudyError, closest
from nas.files.plain import JsonDict, clean_text
from nas.spaces import Candidate
from nas.storage.base import insert_or_update, trainings_of
from nas.storage.clock import database_now
from nas.storage.models import CandidateRow, Note, Training
from nas.storage.studies import Studies

LONGEST_COMMENT, MOST_TAGS, LONGEST_TAG = 10_000, 20, 40
"""In characters and numbers; what is longer belongs into a file."""


@dataclass(frozen=True)
class NoteInfo:
    """One note; the empty one is none."""

    star: bool = False
    tags: tuple[str, ...] = ()
    comment: str = ""

    @property
    def words(self) -> str:
        """All of it in one line.

        >>> NoteInfo(True, ("robot",), "fits the board").words
        '★ robot: fits the board'
        """
        head = " ".join(part for part in ("★" if self.star else "", ", ".join(self.tags)) if part)
        return ": ".join(part for part in (head, self.comment) if part)


class Notes(Studies):
    """Stores notes and gives them back."""

    def note(
        self,
        study: str,
        candidate: str,
        *,
        star: bool | None = None,
        tags: Sequence[str] | None = None,
        comment: str | None = None,
    ) -> NoteInfo:
        """Notes something of a candidate (its notation or id); returns all that is noted. What is None stays as it is.

        Raises:
            StudyError: the study has no such candidate, or a tag or comment is too long.
        """
        study_id = self.study(study).id
        candidate_id = self._candidate_of(study_id, candidate)
        kept = self.notes(study_id).get(candidate_id, NoteInfo())
        found = replace(
            kept,
            star=kept.star if star is None else star,
            tags=kept.tags if tags is None else tuple(dict.fromkeys(_tag(tag) for tag in tags)),
            comment=kept.comment if comment is None else clean_text(comment).strip(),
        )
        if len(found.comment) > LONGEST_COMMENT or len(found.tags) > MOST_TAGS:
            raise StudyError(f"a note holds {LONGEST_COMMENT} characters and {MOST_TAGS} tags at most", "shorten it")
        if found == kept:
            return kept
        before = asdict(kept)
        self._keep(study_id, candidate_id, {key: value for key, value in asdict(found).items() if value != before[key]})
        return self.notes(study_id).get(candidate_id, NoteInfo())

    def notes(self, study_id: int) -> dict[str, NoteInfo]:
        """Notes of a study by candidate id, the newest first."""
        return {candidate: note for candidate, _, note in self._noted(study_id)}

    def named_notes(self, study: str) -> dict[str, NoteInfo]:
        """The same by notation, of a study by its name."""
        return {notation: note for _, notation, note in self._noted(self.study(study).id)}

    def _noted(self, study_id: int) -> list[tuple[str, str, NoteInfo]]:
        query = (
            select(CandidateRow.id, CandidateRow.notation, Note.star, Note.tags, Note.comment)
            .join(Note, Note.candidate_id == CandidateRow.id)
            .where(Note.study_id == study_id)
            .order_by(Note.changed_at.desc(), CandidateRow.id)
        )
        rows = self.rows(query)
        found = [(row.id, row.notation, NoteInfo(row.star, tuple(row.tags), row.comment)) for row in rows]
        return [row for row in found if row[2] != NoteInfo()]

    def _candidate_of(self, study_id: int, named: str) -> str:
        try:
            notation = Candidate.parse(named).notation
        except NasError:
            notation = named  # an id, or a block that is not installed here
        query = (
            select(CandidateRow.id, CandidateRow.notation)
            .join(Training, Training.candidate_id == CandidateRow.id)
            .where(Training.id.in_(trainings_of(study_id)))
            .distinct()
        )
        known = {row.notation: row.id for row in self.rows(query)}
        if named in known.values():
            return named
        if notation not in known:
            guess = closest(named, sorted(known))
            hint = f"did you mean {guess!r}?" if guess else "notations are in its report and on its dashboard"
            raise StudyError(f"the study has no candidate {named!r:.200}", hint)
        return str(known[notation])

    def _keep(self, study_id: int, candidate_id: str, changes: JsonDict) -> None:
        """Only what changed is written: what somebody else notes at the same time stays."""
        row = {"study_id": study_id, "candidate_id": candidate_id, **changes}

        def work(session: Session) -> None:
            now = session.scalar(select(database_now()))
            insert_or_update(session, Note, [{**row, "changed_at": now}], ("study_id", "candidate_id"))

        self.write(work)


def _tag(text: str) -> str:
    tag = " ".join(clean_text(text).split())
    if not tag or len(tag) > LONGEST_TAG or "," in tag:
        raise StudyError(f"a tag is a word or two, not {text!r:.60}", f"{LONGEST_TAG} characters at most, no comma")
    return tag
