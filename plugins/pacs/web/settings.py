"""The part "Pacs.Web" of the settings."""

from __future__ import annotations

from datetime import tzinfo
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel.dates import LOCALTZ, get_timezone
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.alias_generators import to_pascal

type LanguageCode = Literal["en", "es", "pt"]
type UrlPath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9/._-]*$")]


class WebSettings(BaseModel):
    """How the pages look and where they find the parts that are not theirs."""

    model_config = ConfigDict(alias_generator=to_pascal, extra="forbid", frozen=True, validate_default=True)

    language: LanguageCode = Field(
        default="es", description="Language for whoever neither chose one nor has a browser that asks for one."
    )
    time_zone: str = Field(default="", description='IANA name such as "America/Asuncion"; empty for the server\'s own.')
    institution: str = Field(default="", max_length=80, description="The hospital's name, shown beside the product's.")
    page_size: int = Field(default=50, ge=5, le=200, description="Studies on one page of the list.")
    refresh_seconds: int = Field(default=5, ge=1, le=300, description="How often the System page renews itself.")
    upload_parallel: int = Field(default=4, ge=1, le=8, description="Files that a browser sends at the same time.")
    upload_largest_file_bytes: int = Field(
        default=4 * 1000**3, ge=1000**2, description="Larger files (in a ZIP: larger entries) are refused by the page."
    )
    ohif_path: UrlPath = Field(default="/ohif/viewer", description="Where OHIF opens a study.")
    orthanc_viewer_path: UrlPath = Field(
        default="/web-viewer/app/viewer.html", description="Where Orthanc's own web viewer opens a series."
    )
    orthanc_explorer_path: UrlPath = Field(default="/app/explorer.html", description="Where Orthanc Explorer is.")
    dicom_web_path: UrlPath = Field(default="/dicom-web", description="Root of the DICOMweb services, for Weasis.")
    htmx_file: Path = Field(
        default=Path("/usr/share/javascript/htmx/htmx.min.js"), description="htmx, as Debian packages it."
    )
    socket: Path = Field(
        default=Path("/run/pacs/pages.sock"), description="Unix socket on which NGINX finds the pages."
    )
    vendor_folder: Path = Field(
        default=Path("/opt/pacs/viewers/pacs-vendor"),
        description="Folder with zip.min.js and ogl.min.js, as viewer-config/build.py makes it.",
    )

    @property
    def zone(self) -> tzinfo:
        """The time zone that people here live in."""
        return get_timezone(self.time_zone) if self.time_zone else LOCALTZ

    @field_validator("time_zone")
    @classmethod
    def _known_time_zone(cls, name: str) -> str:
        if name:
            try:
                ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                message = "expected the IANA name of a time zone, for example America/Asuncion"
                raise ValueError(message) from None
        return name
