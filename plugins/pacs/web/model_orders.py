"""Recipes of 3D models as requests bring them: JSON, or a few words in an address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pacs.errors import InvalidInput
from pacs.mesh.recipe import Format, Preset, Recipe

# What the page shows is a GLB, so every model has one.
SHOWN = Format.GLB
_FORMATS = TypeAdapter(list[Format])
# Words of an address and where they stand in a recipe.
_WORDS = frozenset(
    {
        "preset",
        "low",
        "high",
        "otsu",
        "segment",
        "roi",
        "sub_volume",
        "keep",
        "min_volume_mm3",
        "close_holes_mm",
        "smooth",
        "deviation_mm",
        "share",
        "triangles",
        "coordinates",
    }
)


def read_recipe(content: Any) -> Recipe:
    """Read a recipe, with the format for the page added.

    Raises
    ------
    InvalidInput : each mistake with its place.
    """
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        raise _refused(error) from None
    formats = tuple(one for one in Format if one in {*recipe.formats, SHOWN})
    return recipe.model_copy(update={"formats": formats})


def recipe_of_address(words: Mapping[str, str], form: str) -> Recipe:
    """Read a recipe from the query of a simple address such as mesh.stl?preset=bone&share=0.9.

    Raises
    ------
    InvalidInput : a word that is none, or a value that can't be.
    """
    if unknown := sorted(set(words) - _WORDS):
        raise InvalidInput(f"Unknown: {', '.join(unknown)}.", remedy=f"Known: {', '.join(sorted(_WORDS))}.")
    select = _selection(words)
    content: dict[str, Any] = {
        "parts": [{"name": select.get("preset", select["kind"]), "select": select}],
        "formats": [form],
        "sub_volume": words.get("sub_volume"),
        "smooth_iterations": words.get("smooth", 25),
    }
    content |= {
        name: words[name] for name in ("keep", "min_volume_mm3", "close_holes_mm", "coordinates") if name in words
    }
    reductions = [{name: words[name]} for name in ("deviation_mm", "share", "triangles") if name in words]
    if len(reductions) > 1:
        raise InvalidInput("Expected one of deviation_mm, share and triangles, found several.")
    return read_recipe(content | ({"reduce": reductions[0]} if reductions else {}))


def read_formats(content: Any, offered: frozenset[Format]) -> list[Format]:
    """Read which formats are to be saved.

    Raises
    ------
    InvalidInput : none, or one that the model does not have.
    """
    try:
        formats = _FORMATS.validate_python(content)
    except ValidationError as error:
        raise _refused(error) from None
    if not formats or not set(formats) <= offered:
        raise InvalidInput(f"Expected formats of {', '.join(sorted(offered))}, found {', '.join(formats) or 'none'}.")
    return formats


def _selection(words: Mapping[str, str]) -> dict[str, Any]:
    for kind in ("segment", "roi"):
        if kind in words:
            return {"kind": kind, "number": words[kind]}
    if "otsu" in words:
        return {"kind": "otsu"}
    if "low" in words:
        return {"kind": "window", "low": words["low"], "high": words.get("high")}
    if "preset" in words:
        return {"kind": "preset", "preset": words["preset"]}
    raise InvalidInput(
        "Expected what is to be made into a model.",
        remedy=f"Add preset={'|'.join(Preset)}, low=HU, otsu=1 or segment=1.",
    )


def _refused(error: ValidationError) -> InvalidInput:
    faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'recipe'}: {fault['msg']}" for fault in error.errors())
    return InvalidInput(f"The recipe can't be used: {faults}.", remedy="See openapi.json.")
