"""Reads the lists of models that other programs keep; what they are is told by their content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quarterdeck.errors import AppError
from quarterdeck.registry.importers import litellm, llama_swap, model_registry, modelfile, url_lists
from quarterdeck.registry.importers.arguments import Engines
from quarterdeck.registry.importers.plan import ImportPlan, PlannedModel
from quarterdeck.registry.importers.texts import LONGEST_TEXT, read_json, read_yaml

__all__ = ["FORMATS", "ImportPlan", "PlannedModel", "preview"]

FORMATS = {module.FORMAT: module.TITLE for module in (model_registry, litellm, llama_swap, modelfile, url_lists)}
"""What can be imported: the word for it, and its title."""


def preview(text: str, *, name: str, format: str | None = None, engines: Engines | None = None) -> ImportPlan:
    """Read `text`, which comes from the file `name`, a path if possible. Nothing is changed.

    `engines` are the options of the backends, by which command lines become load_configs. Raises AppError: `bad_import`
    with line and column, `unknown_format`, `empty_import`.
    """
    if not text.strip():
        raise AppError("empty_import", "There is nothing in it.", "Choose another file.")
    if len(text) > LONGEST_TEXT:
        raise AppError("import_too_large", "This is too large to be a list of models.", "Choose another file.")
    if format is not None and format not in FORMATS:
        raise AppError(
            "unknown_format", f"There is no format “{format}”.", f"Choose one of these: {', '.join(FORMATS)}."
        )
    options = engines or {}
    if format == url_lists.FORMAT or (format is None and url_lists.is_url_list(text)):
        return url_lists.read(text)
    document = None
    if format != modelfile.FORMAT:
        document = _document(text, name)
        format = format or _recognise(document)
    if format is None and not isinstance(document, Mapping | list) and modelfile.is_modelfile(text):
        format = modelfile.FORMAT
    match format:
        case model_registry.FORMAT:
            return model_registry.read(document, options)
        case litellm.FORMAT:
            return litellm.read(document)
        case llama_swap.FORMAT:
            return llama_swap.read(document, options)
        case modelfile.FORMAT:
            return modelfile.read(text, name, options)
    raise AppError(
        "unknown_format",
        f"“{name}” is none of the lists of models that Quarterdeck reads.",
        f"It reads these: {', '.join(FORMATS.values())}.",
    )


def _document(text: str, name: str) -> Any:
    if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "[") and not name.lower().endswith((".yaml", ".yml")):
        return read_json(text)
    try:
        return read_yaml(text)
    except AppError:
        # A Modelfile is no YAML, and the mistake of one is not told as that of the other.
        if modelfile.is_modelfile(text):
            return None
        raise


def _recognise(document: Any) -> str | None:
    if isinstance(document, Mapping):
        if "model_list" in document:
            return litellm.FORMAT
        models = document.get("models")
        if isinstance(models, Mapping) and any(
            isinstance(each, Mapping) and ("cmd" in each or "proxy" in each) for each in models.values()
        ):
            return llama_swap.FORMAT
    return model_registry.FORMAT if model_registry.is_registry(document) else None
