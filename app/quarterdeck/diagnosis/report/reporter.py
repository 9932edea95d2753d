"""Drift, report and checklist of the running core."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from quarterdeck.diagnosis.drift import compare, problems
from quarterdeck.diagnosis.drift.facts import Facts, FactSource
from quarterdeck.diagnosis.drift.files import ConfigFile, look, view
from quarterdeck.diagnosis.report import build, checklist, markdown
from quarterdeck.schemas.problems import ProblemView, Severity
from quarterdeck.schemas.report import CheckItem, Difference, DriftReport, StatusReport

Problems = Callable[[], Awaitable[Sequence[ProblemView]]]


@dataclass(frozen=True)
class Snapshot:
    """Everything at one moment."""

    facts: Facts
    files: list[ConfigFile]
    differences: list[Difference]

    def drift(self) -> DriftReport:
        files = [view(file, self.facts) for file in self.files]
        return DriftReport(files=files, differences=self.differences, checked_at=self.facts.at)

    def problems(self) -> list[ProblemView]:
        return problems.problems(self.facts, self.files, self.differences)


class Reporter:
    """`problems` are those that others found; those of the drift may be among them or not."""

    def __init__(self, source: FactSource, *, problems: Problems | None = None) -> None:
        self._source = source
        self._others = problems
        self._checked = checklist.unchecked()

    async def snapshot(self, *, thorough: bool = False) -> Snapshot:
        """Look at servers and files now; `thorough` asks servers on this machine for a tiny tool call."""
        facts = await self._source.collect(thorough=thorough)
        files = await look(facts)
        return Snapshot(facts, files, compare.differences(facts, files))

    async def files(self) -> list[ConfigFile]:
        return (await self.snapshot()).files

    async def drift(self) -> DriftReport:
        return (await self.snapshot(thorough=True)).drift()

    async def problems(self) -> list[ProblemView]:
        """The problems of the drift, from what is known without asking servers for anything that costs."""
        return (await self.snapshot()).problems()

    async def report(self) -> StatusReport:
        snapshot = await self.snapshot(thorough=True)
        found = {each.id: each for each in snapshot.problems()}
        if self._others is not None:
            found |= {each.id: each for each in await self._others()}
        order = list(Severity)
        listed = sorted(found.values(), key=lambda each: order.index(each.severity))
        documents = await asyncio.to_thread(build.documents_beside, snapshot.files)
        report = build.build(
            snapshot.facts, snapshot.files, snapshot.drift(), listed, checklist=self._checked, documents=documents
        )
        report.markdown = markdown.page(report)
        return report

    async def run_checklist(self) -> list[CheckItem]:
        """Go through the checklist now; the next report shows how it came out."""
        snapshot = await self.snapshot(thorough=True)
        self._checked = checklist.run(snapshot.facts, snapshot.differences)
        return self._checked
