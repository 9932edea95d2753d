"""Fields for the options of a load that matter most, and JSON for all others."""

from __future__ import annotations

from contextlib import ExitStack

from PySide6.QtCore import QSignalBlocker, Qt, Signal, Slot
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from quarterdeck.errors import ConfigError
from quarterdeck.gui.presenters import load_options as options_of
from quarterdeck.gui.presenters.load_options import LoadOptions
from quarterdeck.gui.widgets.json_editor import JsonEditor
from quarterdeck.gui.widgets.spin import aligned

DEFAULT = "Engine’s default"
MOST_PARALLEL = 256
MOST_LAYERS = 10_000
REST_LINES = 6
SHARE_STEP = 0.01


class _Slider(QSlider):
    """A slider that the wheel scrolls past, so that no value changes by accident."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()


class OptionsForm(QWidget):
    """Shows LoadOptions for one engine; `changed` follows every edit. A field at its lowest value leaves the choice to
    the engine.
    """

    changed = Signal()

    def __init__(self, backend: str, context_limit: int | None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._names = options_of.names(backend)
        self._stops: list[int] = []
        self._limit = context_limit
        self.context = _spin("Context length", MOST_LAYERS, " tokens")
        self.context.setSingleStep(1024)
        self.slider = _Slider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName("Context length, in steps")
        self.parallel = _spin("Parallel requests", MOST_PARALLEL)
        self.kv = QComboBox()
        self.kv.setAccessibleName("KV cache type")
        self.kv.addItem(DEFAULT, None)
        for kind in self._names.kv_types:
            self.kv.addItem(kind, kind)
        self.layers = _spin("Layers on the GPU", MOST_LAYERS)
        self.layers.setMinimum(-1)
        self.share = aligned(QDoubleSpinBox(decimals=2, minimum=0.0, maximum=1.0, singleStep=SHARE_STEP))
        self.share.setAccessibleName("Share of the GPU memory")
        self.share.setSpecialValueText(DEFAULT)
        self.rest = JsonEditor()
        self.rest.setAccessibleName("Other options as JSON")
        self.rest.setMinimumHeight(self.fontMetrics().lineSpacing() * REST_LINES)
        self._lay_out()
        self._set_limit(context_limit)
        self._connect()

    def show_options(self, options: LoadOptions) -> None:
        """Fill the fields; emits `changed` once."""
        with ExitStack() as quiet:
            for field in (self.context, self.slider, self.parallel, self.kv, self.layers, self.share):
                quiet.enter_context(QSignalBlocker(field))
            self._set_limit(options_of.context_limit(self._limit, options.context))
            self.context.setValue(options.context or 0)
            self._move_slider()
            self.parallel.setValue(options.parallel or 0)
            self.kv.setCurrentIndex(max(0, self.kv.findData(options.kv)))
            self.layers.setValue(-1 if options.layers is None else options.layers)
            self.share.setValue(options.share or 0.0)
            self.rest.show_text(options_of.as_text(options.rest))
        self.changed.emit()

    def options(self) -> LoadOptions:
        """What the fields hold. Raises ConfigError when the JSON text is not an object."""
        filled = LoadOptions(
            context=self.context.value() or None,
            parallel=self.parallel.value() or None,
            kv=self.kv.currentData(),
            layers=None if self.layers.value() < 0 else self.layers.value(),
            share=round(self.share.value(), 2) or None,
        )
        try:
            return options_of.with_rest(filled, self.rest.toPlainText())
        except ConfigError:
            self.rest.validate()
            raise

    def set_context(self, tokens: int) -> None:
        self.context.setValue(tokens)

    def set_share(self, share: float) -> None:
        self.share.setValue(share)

    def show_layer_count(self, count: int | None) -> None:
        """How many layers the model has, once that is known."""
        self.layers.setSuffix("" if count is None else f" of {count}")

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setHorizontalSpacing(14)
        form.setVerticalSpacing(10)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        row = QHBoxLayout()
        row.setSpacing(10)
        row.addWidget(self.slider, 1)
        row.addWidget(self.context)
        names = self._names
        if names.context:
            form.addRow("Context length", row)
        else:
            self.slider.hide()
            self.context.hide()
        for label, field, offered in (
            ("Parallel requests", self.parallel, names.parallel),
            ("KV cache type", self.kv, names.kv),
            ("Layers on the GPU", self.layers, names.layers),
            ("Share of GPU memory", self.share, names.share),
        ):
            if offered:
                form.addRow(label, field)
            else:
                field.hide()
        other = QLabel("Other options, as JSON" if names.context else "Options, as JSON")
        other.setBuddy(self.rest)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(10)
        column.addLayout(form)
        column.addWidget(other)
        column.addWidget(self.rest, 1)

    def _connect(self) -> None:
        self.context.valueChanged.connect(self._context_typed)
        self.slider.valueChanged.connect(self._slider_moved)
        for signal in (self.parallel.valueChanged, self.layers.valueChanged, self.share.valueChanged,
                       self.kv.currentIndexChanged, self.rest.textChanged):  # fmt: skip
            signal.connect(self.changed)

    def _set_limit(self, limit: int | None) -> None:
        longest = options_of.context_limit(limit, None)
        self._stops = options_of.context_stops(longest)
        self.context.setMaximum(longest)
        self.slider.setRange(0, len(self._stops) - 1)
        self.context.setToolTip(f"The model reads up to {longest:,} tokens." if self._limit else "")

    @Slot()
    def _context_typed(self) -> None:
        self._move_slider()
        self.changed.emit()

    def _move_slider(self) -> None:
        with QSignalBlocker(self.slider):
            self.slider.setValue(options_of.nearest_stop(self._stops, self.context.value()))

    @Slot(int)
    def _slider_moved(self, place: int) -> None:
        with QSignalBlocker(self.context):
            self.context.setValue(self._stops[place])
        self.changed.emit()


def _spin(name: str, most: int, suffix: str = "") -> QSpinBox:
    spin = aligned(QSpinBox())
    spin.setAccessibleName(name)
    spin.setRange(0, most)
    spin.setSuffix(suffix)
    spin.setGroupSeparatorShown(True)
    spin.setSpecialValueText(DEFAULT)
    spin.setCorrectionMode(QAbstractSpinBox.CorrectionMode.CorrectToNearestValue)
    spin.setMinimumWidth(spin.fontMetrics().horizontalAdvance(DEFAULT) + 40)
    return spin
