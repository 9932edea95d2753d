"""Try a name: which rule wins and why, also as if a backend were down."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtGui import QAction, QPixmap
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from quarterdeck.errors import AppError
from quarterdeck.gui import theme
from quarterdeck.gui.presenters.routing import NEEDS, RULE_TITLES, further, headline
from quarterdeck.gui.presenters.text import counted, sentence_start
from quarterdeck.gui.widgets.emptying import empty
from quarterdeck.gui.widgets.name_completer import NameCompleter, Names
from quarterdeck.schemas.requests import RouteQuestion, RouteReport

DEBOUNCE_MS = 200
HINT = "Type the name of a model as a client would, such as gpt-4o."


class RouteTester(QFrame):
    """`asked(RouteQuestion)` wants a report, which comes by `show_report` or `show_error`."""

    asked = Signal(object)

    def __init__(self, names: Names, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self._names = names
        self._report: RouteReport | None = None
        self._soon = QTimer(self, interval=DEBOUNCE_MS, singleShot=True)
        self._soon.timeout.connect(self.ask)
        self._build()
        theme.notifier.changed.connect(self._paint)
        self.show_nothing()

    def _build(self) -> None:
        heading = QLabel("Try a name")
        heading.setProperty("role", "heading")
        self.name = QLineEdit(placeholderText="Name that a client asks for", clearButtonEnabled=True)
        self.name.setAccessibleName("Name that a client asks for")
        self.name.textChanged.connect(self._soon.start)
        self.down = _Choices("As if down", "Everything is up", self)
        self.down.setToolTip("What would happen if these models and backends were down")
        self.needs = _Choices("Needs", "Any request", self)
        self.needs.setToolTip("What the request needs of its model")
        self.needs.offer(NEEDS)
        for menu in (self.down, self.needs):
            menu.changed.connect(self.ask)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self.name, 1)
        row.addWidget(self.down)
        row.addWidget(self.needs)
        self._icon = QLabel()
        self.title, self.about = _words(""), _words("muted")
        font = self.title.font()
        font.setBold(True)
        self.title.setFont(font)
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(self.title)
        words.addWidget(self.about)
        told = QHBoxLayout()
        told.setSpacing(12)
        told.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignTop)
        told.addLayout(words, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 16, 14)
        column.setSpacing(10)
        column.addWidget(heading)
        column.addLayout(row)
        column.addLayout(told)
        column.addWidget(self._build_steps(), 1)

    def _build_steps(self) -> QWidget:
        inside = QWidget()
        inside.setProperty("plain", True)
        self._steps = QGridLayout()
        self._steps.setHorizontalSpacing(10)
        self._steps.setVerticalSpacing(6)
        self._steps.setColumnStretch(2, 1)
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 4, 0, 0)
        column.addLayout(self._steps)
        column.addStretch()
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(inside)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        return area

    def offer(self, models: Iterable[str], backends: Iterable[tuple[str, str]]) -> None:
        """What can be asked for and pretended to be down; backends with their titles."""
        NameCompleter(self._names(), self.name)
        self.down.offer([*((name, f"Backend {title}") for name, title in backends), *((name, name) for name in models)])

    @Slot()
    def ask(self) -> None:
        """Ask at once for what the fields say."""
        self._soon.stop()
        name = self.name.text().strip()
        if name:
            self.asked.emit(RouteQuestion(model=name, down=self.down.chosen(), needs=self.needs.chosen()))
        else:
            self.show_nothing()

    def show_nothing(self) -> None:
        self._show(None, "Nothing asked yet", HINT)

    def show_error(self, error: AppError) -> None:
        self._show(None, error.sentence, error.hint)

    def show_report(self, report: RouteReport) -> None:
        if report.asked == self.name.text().strip():
            self._show(report, *headline(report))

    @property
    def step_texts(self) -> list[str]:
        """The steps as they are told, for screen readers."""
        if self._report is None:
            return []
        return [f"{_title(step.rule)}: {step.sentence}" for step in self._report.steps]

    def _show(self, report: RouteReport | None, title: str, about: str) -> None:
        self._report = report
        self.title.setText(title)
        self.about.setText(about)
        self.about.setVisible(bool(about))
        self._paint()

    @Slot()
    def _paint(self) -> None:
        empty(self._steps)
        report, colours = self._report, theme.tokens()
        if report is None:
            self._icon.setPixmap(self._picture("info", colours.neutral.fg))
            return
        found = report.model is not None
        self._icon.setPixmap(self._picture("ok" if found else "error", (colours.ok if found else colours.error).fg))
        for row, step in enumerate(report.steps):
            picture = QLabel()
            picture.setPixmap(self._picture("check" if step.fits else "remove",
                                            (colours.ok if step.fits else colours.neutral).fg))  # fmt: skip
            picture.setAccessibleName("Fits" if step.fits else "Does not fit")
            self._add_row(row, picture, _title(step.rule), step.sentence)
        for row, (label, names) in enumerate(further(report), len(report.steps)):
            picture = QLabel()
            picture.setPixmap(self._picture("chevron-right", colours.muted))
            self._add_row(row, picture, label, names)

    def _add_row(self, row: int, picture: QLabel, label: str, text: str) -> None:
        top = Qt.AlignmentFlag.AlignTop
        name, words = _words("muted"), _words("")
        name.setWordWrap(False)
        name.setText(label)
        words.setText(text)
        self._steps.addWidget(picture, row, 0, top)
        self._steps.addWidget(name, row, 1, top)
        self._steps.addWidget(words, row, 2)

    def _picture(self, name: str, colour: str) -> QPixmap:
        return theme.pixmap(name, colour, self.fontMetrics().height(), self.devicePixelRatioF())


class _Choices(QPushButton):
    """A button whose menu ticks several things; `changed` follows each tick."""

    changed = Signal()

    def __init__(self, title: str, nothing: str, parent: QWidget) -> None:
        super().__init__(title, parent)
        self._title, self._nothing = title, nothing
        menu = QMenu(self)
        menu.triggered.connect(self._ticked)
        self.setMenu(menu)
        self._tell()

    def offer(self, choices: Iterable[tuple[str, str]]) -> None:
        """Values with their titles; what was ticked stays ticked."""
        ticked = set(self.chosen())
        self.menu().clear()
        for value, title in choices:
            action = self.menu().addAction(title)
            action.setData(value)
            action.setCheckable(True)
            action.setChecked(value in ticked)
        self._tell()

    def chosen(self) -> list[str]:
        return [str(action.data()) for action in self.menu().actions() if action.isChecked()]

    @Slot(QAction)
    def _ticked(self, _action: QAction) -> None:
        self._tell()
        self.changed.emit()

    def _tell(self) -> None:
        count = len(self.chosen())
        self.setText(f"{self._title}: {count}" if count else self._title)
        self.setAccessibleName(self._title)
        self.setAccessibleDescription(counted(count, "choice", "choices") if count else self._nothing)


def _title(rule: str) -> str:
    return RULE_TITLES.get(rule, sentence_start(rule))


def _words(role: str) -> QLabel:
    label = QLabel()
    label.setProperty("role", role)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    return label
