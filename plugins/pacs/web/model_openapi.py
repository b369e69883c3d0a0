"""The REST API of 3D models, described for programs (OpenAPI 3.1)."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from pacs.mesh.jobs.looks import SeriesLook
from pacs.mesh.jobs.orders import JobState, SeriesNote
from pacs.mesh.recipe import Format, Preset, Recipe
from pacs.mesh.report import Report

_REFERENCE = "#/components/schemas/{model}"
_SERIES = {
    "name": "series",
    "in": "path",
    "required": True,
    "description": "Orthanc's identifier of a series, or its SeriesInstanceUID.",
    "schema": {"type": "string"},
}
_JOB = {"name": "job", "in": "path", "required": True, "schema": {"type": "integer"}}
_NUMBER = {"type": "number"}


def description(version: str) -> dict[str, Any]:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "PACS Cloud: 3D models", "version": version, "description": (__doc__ or "").strip()},
        "servers": [{"url": "/"}],
        "paths": {
            "/pacs/mesh": {"get": _operation("List the newest jobs", {"200": _json("Jobs", _list_of("Job", "jobs"))})},
            "/pacs/mesh/{series}": _of_series(),
            "/pacs/mesh/{series}/histogram": {
                "parameters": [_SERIES],
                "get": _operation(
                    "How often each value is in the volume", {"200": _json("Counts", {"type": "object"})}
                ),
            },
            "/pacs/mesh/{series}/preview": {
                "parameters": [_SERIES],
                "post": _operation(
                    "A coarse model at once, for the eye", {"200": _binary("GLB", "model/gltf-binary")}, body="Recipe"
                ),
            },
            "/pacs/mesh/jobs/{job}": _of_job(),
            "/pacs/mesh/jobs/{job}/files/{name}": {
                "parameters": [_JOB, {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}],
                "get": _operation("A file of the model", {"200": _binary("The file", "application/octet-stream")}),
            },
            "/pacs/mesh/jobs/{job}/report.json": {
                "parameters": [_JOB],
                "get": _operation("What was made and how good it is", {"200": _json("Report", _reference("Report"))}),
            },
            "/pacs/mesh/jobs/{job}/study": {
                "parameters": [_JOB],
                "post": _operation(
                    "Save it in its study, as DICOM",
                    {"202": _accepted(), "400": _problem("Not in LPS")},
                    body="Formats",
                ),
            },
            "/series/{series}/mesh.{format}": _simple(),
        },
        "components": {"schemas": _schemas()},
    }


def _of_series() -> dict[str, Any]:
    return {
        "parameters": [_SERIES],
        "get": _operation("What the series holds", {"200": _json("What it holds", _reference("SeriesLook"))}),
        "post": _operation(
            "Order a model",
            {"202": _accepted(), "413": _problem("More memory needed than there is"), "422": _problem("No volume")},
            body="Recipe",
        ),
    }


def _of_job() -> dict[str, Any]:
    return {
        "parameters": [_JOB],
        "get": _operation("How a job is doing", {"200": _json("Job", _reference("Job"))}),
        "delete": _operation("Cancel it", {"200": _json("Job", _reference("Job")), "409": _problem("It is over")}),
    }


def _simple() -> dict[str, Any]:
    words: dict[str, dict[str, Any]] = {
        "preset": {"enum": [str(one) for one in Preset]},
        "low": _NUMBER,
        "high": _NUMBER,
        "otsu": {"const": "1"},
        "segment": {"type": "integer"},
        "roi": {"type": "integer"},
        "sub_volume": {"type": "string"},
        "keep": {"enum": ["all", "largest"]},
        "min_volume_mm3": _NUMBER,
        "close_holes_mm": _NUMBER,
        "smooth": {"type": "integer"},
        "deviation_mm": _NUMBER,
        "share": _NUMBER,
        "triangles": {"type": "integer"},
        "coordinates": {"enum": ["LPS", "RAS"]},
    }
    form = {"name": "format", "in": "path", "required": True, "schema": {"enum": [str(one) for one in Format]}}
    answers = {"200": _binary("The file", "model/stl"), "307": {"description": "Not done yet: the same address again"}}
    return {
        "parameters": [_SERIES, form, *({"name": name, "in": "query", "schema": one} for name, one in words.items())],
        "get": _operation("A model in one request, for scripts that follow redirects", answers),
    }


def _operation(summary: str, answers: dict[str, Any], *, body: str | None = None) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": summary, "responses": {**answers, "4XX": _problem("A problem (RFC 9457)")}}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _reference(body)}}}
    return operation


def _accepted() -> dict[str, Any]:
    return {
        **_json("The job that does it", _reference("Job")),
        "headers": {"Location": {"schema": {"type": "string"}, "description": "Where to ask how it is doing."}},
    }


def _json(words: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": schema}}}


def _binary(words: str, media_type: str) -> dict[str, Any]:
    return {"description": words, "content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}


def _problem(words: str) -> dict[str, Any]:
    return {"description": words, "content": {"application/problem+json": {"schema": _reference("Problem")}}}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=name)}


def _list_of(name: str, key: str) -> dict[str, Any]:
    return {"type": "object", "properties": {key: {"type": "array", "items": _reference(name)}}}


def _schemas() -> dict[str, Any]:
    wanted = [(Recipe, "validation"), (Report, "serialization"), (SeriesLook, "serialization")]
    wanted.append((SeriesNote, "serialization"))
    _, made = models_json_schema(wanted, ref_template=_REFERENCE)  # type: ignore[arg-type]
    problem = {name: {"type": "string"} for name in ("type", "title", "detail")} | {"status": {"type": "integer"}}
    return {
        **made["$defs"],
        "Formats": {
            "type": "object",
            "properties": {"formats": {"type": "array", "items": {"enum": ["stl", "obj"]}, "minItems": 1}},
        },
        "Job": {"type": "object", "properties": _job_properties()},
        "Problem": {"type": "object", "properties": problem},
    }


def _job_properties() -> dict[str, Any]:
    text = {"type": "string"}
    file = dict.fromkeys(("name", "format", "media_type", "sha256", "href"), text) | {"size_bytes": {"type": "integer"}}
    return {
        "id": {"type": "integer"},
        "kind": {"enum": ["model", "save"]},
        "state": {"enum": [str(one) for one in JobState]},
        "stage": text,
        "progress": {"type": "number", "minimum": 0, "maximum": 1},
        "attempts": {"type": "integer"},
        "series": _reference("SeriesNote"),
        "recipe": _reference("Recipe"),
        "ordered_at": {"type": "string", "format": "date-time"},
        "finished_at": {"type": ["string", "null"], "format": "date-time"},
        "self": text,
        "error": _reference("Problem"),
        "instances": {"type": "array", "items": text, "description": "Orthanc's identifiers of what was saved."},
        "cached": {"type": "boolean"},
        "files": {"type": "array", "items": {"type": "object", "properties": file}},
        "report": text,
    }
