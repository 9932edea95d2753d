"""The style sheet of the window: `assets/window.qss` filled in with the tokens.

Widgets choose a look by dynamic properties: buttons `kind` = primary, danger, quiet or nav; labels `role` = title,
heading, muted, mono or error; frames `card` = true or `panel` = true; any container `plain` = true for no background.
"""

from __future__ import annotations

from string import Template

from quarterdeck.gui.theme import ASSETS, Shade, Tokens

TITLE = 1.75
HEADING = 1.2


def sheet(of: Tokens, points: float) -> str:
    """The application's style sheet for these tokens; `points` is the size of the desktop's font."""
    values = {
        "title": f"{points * TITLE:.1f}pt",
        "heading": f"{points * HEADING:.1f}pt",
        "assets": ASSETS.as_posix(),
        "scheme": "dark" if of.dark else "light",
    }
    for name in of.__slots__:
        match getattr(of, name):
            case str(colour):
                values[name] = colour
            case Shade(fg, bg, line):
                values |= {f"{name}_fg": fg, f"{name}_bg": bg, f"{name}_line": line}
    return Template((ASSETS / "window.qss").read_text(encoding="utf-8")).substitute(values)
