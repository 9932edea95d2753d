"""All known issues: those that come with the program and those of the person, in one place."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from quarterdeck.diagnosis.known_issues import names
from quarterdeck.diagnosis.known_issues.entries import Entry, builtin
from quarterdeck.diagnosis.known_issues.page import Page, Section, read_page
from quarterdeck.diagnosis.known_issues.situations import Situation
from quarterdeck.diagnosis.known_issues.writing import BEFORE, LEVEL, write_entry, write_page
from quarterdeck.errors import AppError
from quarterdeck.schemas.known_issues import ImportedIssues, KnownIssue, KnownIssueMatch

OWN_FILE = "known-issues.md"
MOST_TEXT = 256 * 1024
"""Characters of a page that is imported."""

_NOT_FOUND = 3
_NO_HEADING = "Line 1: There is no entry; each begins with a heading, such as “## Open WebUI shows no models”."


class KnownIssues:
    """The catalogue. `own` is the file of the person's entries; it is read when it is needed and after it changed.

    An entry of the person stands for the built-in one of the same id. What a person wrote into the file by hand stays
    as it is written, even where it cannot be read. Every call may block for a moment: the file is small.
    """

    def __init__(self, own: Path) -> None:
        self._file = own
        self._lock = threading.Lock()
        self._page = Page()
        self._entries: Sequence[Entry] = ()
        self._stamp: tuple[int, int] | None = None

    def all(self) -> list[KnownIssue]:
        """Every entry, the person's own first; without those while their file cannot be read."""
        return [entry.issue for entry in self._readable()]

    def get(self, id: str) -> KnownIssue | None:
        return next((issue for issue in self.all() if issue.id == id), None)

    def search(self, query: str) -> list[KnownIssue]:
        """The entries in which every word of the query occurs, those whose title or services say it first.

        Raises AppError `known_issues_unreadable`.
        """
        words = query.casefold().split()
        ranked = [(_rank(entry.issue, words), entry.issue) for entry in self._current()]
        return [issue for rank, issue in sorted(ranked, key=lambda each: each[0]) if rank < _NOT_FOUND]

    @property
    def problems(self) -> list[str]:
        """What of the person's own file cannot be read, each with its line."""
        self._current()
        return self._page.problems

    def add(self, text: str) -> ImportedIssues:
        """Take over the entries of a page; one of a known id is replaced. What cannot be read is told, not taken.

        Raises AppError `page_too_long`, `known_issues_unreadable` or `known_issues_unwritable`; then nothing changes.
        """
        if len(text) > MOST_TEXT:
            raise page_too_long()
        page = read_page(text.lstrip("\ufeff"))
        for section in page.sections:
            _check_it_can_be_written(section)
        answer = ImportedIssues(problems=page.problems)
        if not page.issues and not answer.problems:
            answer.problems = [_NO_HEADING]
        with self._lock:
            own = self._read()
            places = {each.issue.id: place for place, each in enumerate(own.sections) if each.issue}
            for issue in page.issues:
                _put(own, issue, places.get(issue.id))
                (answer.replaced if issue.id in places else answer.added).append(issue.id)
            if page.issues:
                self._write(own)
        return answer

    def remove(self, id: str) -> None:
        """Forget an entry of the person's. Raises AppError `unknown_issue`, `built_in_issue` or as `add` does."""
        with self._lock:
            own = self._read()
            kept = [each for each in own.sections if not (each.issue and each.issue.id == id)]
            if len(kept) == len(own.sections):
                raise _not_own(id)
            self._write(Page(own.before, kept))

    def export(self, *, own: bool = True) -> str:
        """The person's own page as it is, or all entries as one; both can be imported. Raises AppError as `search`."""
        if own:
            with self._lock:
                return self._read().text or BEFORE
        return write_page(entry.issue for entry in self._current())

    def match(self, situation: Situation) -> list[KnownIssueMatch]:
        """The entries that fit, those with a line as proof first, then the one that the diagnosis names."""
        present = names.services(situation.services)
        seen = [(entry.issue, entry.evidence(situation, present)) for entry in self._readable()]
        found = [(issue, evidence) for issue, evidence in seen if evidence is not None]
        found.sort(key=lambda each: (not each[1], each[0].id != situation.known_issue))
        return [
            KnownIssueMatch(issue_id=issue.id, title=issue.title, subject=situation.subject, evidence=evidence)
            for issue, evidence in found
        ]

    def _current(self) -> Sequence[Entry]:
        with self._lock:
            self._read()
            return self._entries

    def _readable(self) -> Sequence[Entry]:
        try:
            return self._current()
        except AppError:
            return builtin()

    def _read(self) -> Page:
        """A copy of the page as it is now. Raises AppError."""
        stamp = _stamp(self._file)
        if not self._entries or stamp != self._stamp:
            self._show(read_page(_text(self._file), level=LEVEL), stamp)
        return Page(self._page.before, list(self._page.sections))

    def _show(self, page: Page, stamp: tuple[int, int] | None) -> None:
        own = {issue.id for issue in page.issues}
        others = (entry for entry in builtin() if entry.issue.id not in own)
        self._page, self._stamp = page, stamp
        self._entries = [*map(Entry, page.issues), *others]

    def _write(self, page: Page) -> None:
        again = read_page(page.text, level=LEVEL)
        if again.issues != page.issues:
            raise AppError(
                "known_issues_unreadable",
                f"{self._file} holds a comment or a block of code without an end, so nothing can be added to it.",
                "Close it, or move the file away.",
                status=409,
            )
        _save(self._file, page.text)
        self._show(again, _stamp(self._file))


def page_too_long() -> AppError:
    return AppError(
        "page_too_long", f"The page is longer than {MOST_TEXT:,} characters.", "Import it in parts.", status=413
    )


def _put(page: Page, issue: KnownIssue, place: int | None) -> None:
    """Put an entry into a page: in the place of the one that is there, else at the end."""
    section = Section(0, write_entry(issue) + "\n", issue)
    if place is not None:
        page.sections[place] = section
        return
    if page.sections:
        last = page.sections[-1]
        page.sections[-1] = replace(last, raw=last.raw.rstrip("\n") + "\n\n")
    else:
        page.before = page.before.rstrip("\n") + "\n\n" if page.before.strip() else BEFORE
    page.sections.append(section)


def _check_it_can_be_written(section: Section) -> None:
    issue = section.issue
    if issue and read_page(f"{write_entry(issue)}\n## Next\n", level=LEVEL).sections[0].issue != issue:
        section.problem = f"“{issue.title}” holds a comment or a block of code without an end, or unusual Markdown."
        section.issue = None


def _rank(issue: KnownIssue, words: Sequence[str]) -> int:
    """In how wide a part of the entry all words occur: the title, then the services, then anywhere."""
    services = [issue.subject, *(name for each in issue.affected for name in each.services)]
    effects = (each.effect for each in issue.affected)
    parts = (
        [issue.title, issue.subject, issue.id, names.service(issue.subject)],
        [*services, *names.services(services)],
        [issue.cause, issue.versions, issue.source, *issue.classes, *effects, *issue.workarounds, *issue.signatures],
    )
    text = ""
    for rank, part in enumerate(parts):
        text += " ".join(["", *part]).casefold()
        if all(word in text for word in words):
            return rank
    return _NOT_FOUND


def _not_own(id: str) -> AppError:
    if any(entry.issue.id == id for entry in builtin()):
        return AppError(
            "built_in_issue",
            "This entry comes with Quarterdeck and cannot be removed.",
            "An entry of your own with the same id stands in its place.",
            status=409,
        )
    return AppError(
        "unknown_issue",
        f"There is no known issue “{id}”.",
        "List them with `quarterdeck known-issues`.",
        status=404,
    )


def _stamp(file: Path) -> tuple[int, int] | None:
    """What tells whether a file changed; None when there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise AppError(
            "known_issues_unreadable",
            f"{file} cannot be read: {error}.",
            "Check its permissions and that it is a text in UTF-8.",
            status=500,
        ) from error


def _save(file: Path, text: str) -> None:
    """In one step, so that a crash leaves the old file or the new one."""
    new = file.with_suffix(".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with new.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(file)
    except OSError as error:
        raise AppError(
            "known_issues_unwritable",
            f"{file} cannot be written: {error}.",
            "Check its permissions and free space.",
            status=507,
        ) from error
