"""The style sheet of the window, made from the tokens.

Widgets choose a look by dynamic properties: buttons `kind` = primary, danger, quiet or nav; labels `role` = title,
heading, muted, mono or error; frames `card` = true or `panel` = true; any container `plain` = true for no background.
"""

from __future__ import annotations

from quarterdeck.gui.theme import ASSETS, Tokens

_SHEET = """
QToolTip { background: $surface; color: $text; border: 1px solid $border; padding: 4px 6px; }
QLabel[role="title"] { font-size: 17pt; font-weight: 600; }
QLabel[role="heading"] { font-size: 12pt; font-weight: 600; }
QLabel[role="muted"] { color: $muted; }
QLabel[role="error"] { color: $error_fg; }
QLabel[role="mono"] { font-family: monospace; }
QFrame[card="true"] { background: $surface; border: 1px solid $border; border-radius: 10px; }
QFrame[panel="true"] { background: $surface; border: none; }
QFrame[card="true"]:focus { border: 2px solid $accent; }
QScrollArea, QScrollArea > QWidget > QWidget[plain="true"], QWidget[plain="true"] { background: transparent; border: none; }

QPushButton, QToolButton[kind] {
    background: $surface; color: $text; border: 1px solid $border; border-radius: 7px; padding: 5px 12px;
}
QPushButton:hover, QToolButton[kind]:hover { background: $hover; }
QPushButton:pressed, QToolButton[kind]:pressed { background: $selection; }
QPushButton:focus, QToolButton[kind]:focus { border: 2px solid $accent; padding: 4px 11px; }
QPushButton:disabled, QToolButton[kind]:disabled { color: $muted; background: $window; }
QPushButton[kind="primary"] { background: $accent; color: $on_accent; border: 1px solid $accent; font-weight: 600; }
QPushButton[kind="primary"]:hover { background: $accent_hover; }
QPushButton[kind="primary"]:focus { border: 2px solid $text; }
QPushButton[kind="primary"]:disabled { background: $neutral_bg; color: $muted; border-color: $border; }
QPushButton[kind="danger"] { background: $error_bg; color: $error_fg; border: 1px solid $error_line; }
QPushButton[kind="danger"]:hover { border-color: $error_fg; }
QPushButton[kind="quiet"], QToolButton[kind="quiet"] { background: transparent; border: 1px solid transparent; padding: 5px 8px; }
QPushButton[kind="quiet"]:hover, QToolButton[kind="quiet"]:hover { background: $hover; }
QPushButton[kind="quiet"]:focus, QToolButton[kind="quiet"]:focus { border: 2px solid $accent; padding: 4px 7px; }
QToolButton[kind="nav"] {
    background: transparent; border: 1px solid transparent; border-radius: 8px; padding: 8px 10px; text-align: left;
}
QToolButton[kind="nav"]:hover { background: $hover; }
QToolButton[kind="nav"]:checked { background: $selection; font-weight: 600; }
QToolButton[kind="nav"]:focus { border: 2px solid $accent; padding: 7px 9px; }
QToolButton::menu-indicator { image: none; }

QLineEdit, QPlainTextEdit, QTextEdit, QComboBox, QAbstractSpinBox {
    background: $surface; color: $text; border: 1px solid $border; border-radius: 7px; padding: 5px 8px;
    selection-background-color: $accent; selection-color: $on_accent;
}
QLineEdit:focus, QPlainTextEdit:focus, QTextEdit:focus, QComboBox:focus, QAbstractSpinBox:focus {
    border: 2px solid $accent; padding: 4px 7px;
}
QLineEdit:disabled, QComboBox:disabled, QAbstractSpinBox:disabled, QPlainTextEdit[readOnly="true"] {
    background: $window; color: $muted;
}
QLineEdit[invalid="true"], QComboBox[invalid="true"], QAbstractSpinBox[invalid="true"] { border: 2px solid $error_fg; padding: 4px 7px; }
QComboBox::drop-down { border: none; width: 22px; }
QComboBox::down-arrow { image: url("$assets/chevron-down-$scheme.svg"); width: 14px; height: 14px; }
QComboBox QAbstractItemView {
    background: $surface; border: 1px solid $border; selection-background-color: $selection; selection-color: $text;
    outline: none; padding: 3px;
}
QAbstractSpinBox::up-button, QAbstractSpinBox::down-button { width: 0; border: none; }

QMenu { background: $surface; border: 1px solid $border; border-radius: 8px; padding: 5px; }
QMenu::item { padding: 6px 22px 6px 14px; border-radius: 5px; }
QMenu::item:selected { background: $selection; color: $text; }
QMenu::item:disabled { color: $muted; }
QMenu::separator { height: 1px; background: $border; margin: 4px 6px; }

QProgressBar {
    background: $neutral_bg; border: none; border-radius: 3px; min-height: 6px; max-height: 6px; color: transparent;
}
QProgressBar::chunk { background: $accent; border-radius: 3px; }

QTabWidget::pane { border: none; border-top: 1px solid $border; }
QTabBar::tab { background: transparent; color: $muted; padding: 7px 14px; border: none; border-bottom: 2px solid transparent; }
QTabBar::tab:hover { color: $text; }
QTabBar::tab:selected { color: $text; border-bottom: 2px solid $accent; font-weight: 600; }
QTabBar::tab:focus { border: 2px solid $accent; border-radius: 5px; padding: 5px 12px; }

QTableView, QListView, QTreeView {
    background: $surface; alternate-background-color: $window; border: 1px solid $border; border-radius: 8px;
    selection-background-color: $selection; selection-color: $text; gridline-color: $border; outline: none;
}
QTableView:focus, QListView:focus, QTreeView:focus { border: 2px solid $accent; }
QHeaderView { background: $surface; border: none; }
QHeaderView::section {
    background: $surface; color: $muted; border: none; border-bottom: 1px solid $border; padding: 6px 8px;
}
QCheckBox, QRadioButton { spacing: 8px; padding: 3px; border: 2px solid transparent; border-radius: 6px; }
QCheckBox:focus, QRadioButton:focus { border-color: $accent; }
QSplitter::handle { background: $border; }

QScrollBar:vertical { background: transparent; width: 12px; margin: 2px; }
QScrollBar:horizontal { background: transparent; height: 12px; margin: 2px; }
QScrollBar::handle { background: $neutral_line; border-radius: 4px; min-height: 28px; min-width: 28px; }
QScrollBar::handle:hover { background: $muted; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }
QDialog { background: $window; }
"""


def sheet(of: Tokens) -> str:
    """The application's style sheet for these tokens."""
    values = {
        name: getattr(of, name)
        for name in ("window", "surface", "hover", "border", "text", "muted", "accent", "accent_hover", "on_accent",
                     "selection")
    }  # fmt: skip
    for status in ("error", "neutral"):
        shade = getattr(of, status)
        values |= {f"{status}_fg": shade.fg, f"{status}_bg": shade.bg, f"{status}_line": shade.line}
    values |= {"assets": ASSETS.as_posix(), "scheme": "dark" if of.dark else "light"}
    from string import Template

    return Template(_SHEET).substitute(values)
