"""What a recipe may say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pacs.mesh.recipe import Recipe, ShareReduction

BONE = {"name": "bone", "select": {"kind": "preset", "preset": "bone"}}


def test_recipe_needs_a_part_only() -> None:
    """All else has defaults."""
    recipe = Recipe.model_validate({"parts": [BONE]})
    assert recipe.smooth_iterations == 25
    assert [str(one) for one in recipe.formats] == ["stl"]


def test_recipe_survives_json() -> None:
    """Written and read it is equal, whatever kinds it holds."""
    recipe = Recipe.model_validate(
        {
            "parts": [
                BONE,
                {"name": "lesion", "color": "#ff0000", "select": {"kind": "segment", "number": 3}},
                {"name": "organ", "select": {"kind": "roi", "number": -1, "sop_instance_uid": "1.2.3"}},
                {"name": "fat", "select": {"kind": "window", "low": -120, "high": -60}},
                {"name": "auto", "select": {"kind": "otsu"}},
            ],
            "box_mm": {"x_mm": [0, 1], "y_mm": [-5, 5], "z_mm": [10, 20]},
            "reduce": {"share": 0.9},
            "formats": ["stl", "3mf"],
        }
    )
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert recipe.reduce == ShareReduction(share=0.9)
    assert recipe.parts[1].color_rgb == (255, 0, 0)


def test_digest_tells_recipes_apart() -> None:
    """Equal recipes share it, others do not."""
    one, same = (Recipe.model_validate({"parts": [BONE]}) for _ in range(2))
    other = Recipe.model_validate({"parts": [BONE], "smooth_iterations": 24})
    assert one.digest == same.digest != other.digest


@pytest.mark.parametrize(
    "wrong",
    [
        {"parts": []},
        {"parts": [BONE, BONE]},
        {"parts": [{**BONE, "name": "../bone"}]},
        {"parts": [{**BONE, "name": ""}]},
        {"parts": [{**BONE, "color": "red"}]},
        {"parts": [{**BONE, "select": {"kind": "preset", "preset": "brain"}}]},
        {"parts": [{**BONE, "select": {"kind": "window", "low": 300, "high": 300}}]},
        {"parts": [{**BONE, "select": {"kind": "window", "low": float("nan")}}]},
        {"parts": [BONE], "box_mm": {"x_mm": [1, 0], "y_mm": [0, 1], "z_mm": [0, 1]}},
        {"parts": [BONE], "reduce": {"share": 1.0}},
        {"parts": [BONE], "reduce": {"share": 0.5, "triangles": 1000}},
        {"parts": [BONE], "reduce": {"deviation_mm": 0}},
        {"parts": [BONE], "formats": []},
        {"parts": [BONE], "formats": ["stl", "stl"]},
        {"parts": [BONE], "formats": ["step"]},
        {"parts": [BONE], "smooth_iterations": 1000},
        {"parts": [BONE], "min_volume_mm3": -1},
        {"parts": [BONE], "unknown": 1},
    ],
)
def test_wrong_recipes_are_refused(wrong: dict[str, Any]) -> None:
    """What would make no model, or a surprise, is not taken."""
    with pytest.raises(ValidationError):
        Recipe.model_validate(wrong)
