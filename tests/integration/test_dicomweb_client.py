"""DICOMweb as a program uses it, by dicomweb-client through NGINX: QIDO-RS, WADO-RS, STOW-RS (PS3.18)."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from io import BytesIO

import httpx
import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from pydicom import Dataset
from pydicom.uid import (
    UID,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from requests import HTTPError

from fixtures.running_pacs import RunningPacs
from fixtures.sample_images import as_read, image_in, stack_of, studies_to_find
from pacs.demo.attributes import Series, Study
from pacs.demo.documents import pdf_document
from pacs.demo.instances import capture
from pacs.demo.syntaxes import encoded

# What the client sends by itself for frames and bulk data (type="*/*") is not in the standard's list.
OCTETS = ("application/octet-stream",)
AS_KEPT = (("application/octet-stream", "*"),)
DISPLAYED = (JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, RLELossless, ImplicitVRLittleEndian)

STUDY, PATIENT_ID, PATIENT_NAME, DESCRIPTION = "0020000D", "00100020", "00100010", "00081030"
REFERENCED, FAILED = "00081199", "00081198"
SOP_INSTANCE, BULK = "00081155", "BulkDataURI"


@pytest.fixture(scope="module")
def client(pacs: RunningPacs) -> DICOMwebClient:
    """Return the client, talking to the one address that everybody has."""
    return DICOMwebClient(url=f"{pacs.url}/dicom-web")


@pytest.fixture(scope="module")
def patients(client: DICOMwebClient) -> list[Dataset]:
    """Return the images of three patients, stored by STOW-RS in one request."""
    images = [as_read(image) for image in studies_to_find("WEB")]
    answer = client.store_instances(images)
    assert [each.ReferencedSOPInstanceUID for each in answer.ReferencedSOPSequence] == [
        each.SOPInstanceUID for each in images
    ]
    return images


# --- QIDO-RS ---


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, ["WEB-1", "WEB-2", "WEB-3"]),
        ({"PatientName": "MU*"}, ["WEB-1", "WEB-2"]),
        ({"PatientName": "muniz^ana"}, ["WEB-2"]),
        ({"PatientName": "MUÑOZ^ÍÑIGO"}, ["WEB-1"]),
        ({"PatientName": "muñoz*"}, ["WEB-1"]),
        ({"PatientName": "GONÇALVES INÊS"}, ["WEB-3"]),
        ({"PatientName": "*INÊS"}, ["WEB-3"]),
        ({"StudyDate": "20240101-20240228"}, ["WEB-1", "WEB-2"]),
        ({"StudyDate": "20240210-"}, ["WEB-2", "WEB-3"]),
        ({"ModalitiesInStudy": "SR"}, ["WEB-3"]),
        ({"AccessionNumber": "WEB-A2"}, ["WEB-2"]),
        ({"StudyDescription": "Tórax*"}, ["WEB-1"]),
        ({"PatientID": "WEB-NOBODY"}, []),
    ],
    ids=str,
)
@pytest.mark.usefixtures("patients")
def test_study_search_matches_as_dicom_says(client: DICOMwebClient, filters: dict[str, str], found: list[str]) -> None:
    """Wildcards, ranges and accents select the same studies as over DIMSE."""
    studies = client.search_for_studies(search_filters={"PatientID": "WEB-*"} | filters)
    assert sorted(value(study, PATIENT_ID) for study in studies) == found


@pytest.mark.usefixtures("patients")
def test_search_is_paged_by_limit_and_offset(client: DICOMwebClient) -> None:
    """Pages of one study follow each other without a gap or a repetition, and end."""
    pages = [
        client.search_for_studies(search_filters={"PatientID": "WEB-*"}, limit=1, offset=offset) for offset in range(4)
    ]
    assert [len(page) for page in pages] == [1, 1, 1, 0]
    assert len({value(page[0], STUDY) for page in pages[:3]}) == 3
    assert len(client.search_for_studies(search_filters={"PatientID": "WEB-*"}, limit=2, get_remaining=True)) == 3


@pytest.mark.usefixtures("patients")
def test_search_that_asks_for_fuzzy_matching_is_answered_literally(client: DICOMwebClient) -> None:
    """Fuzzy matching is not offered; a client that asks for it gets the literal matches, not an error."""
    studies = client.search_for_studies(
        fuzzymatching=True, search_filters={"PatientName": "MUNIZ^ANA", "PatientID": "WEB-*"}
    )
    assert [value(study, PATIENT_ID) for study in studies] == ["WEB-2"]


@pytest.mark.usefixtures("patients")
def test_search_answers_with_the_fields_that_were_asked_for(client: DICOMwebClient) -> None:
    """Several fields, by keyword and by tag, come with the answer, accents intact; counts and kinds come anyway."""
    (study,) = client.search_for_studies(
        search_filters={"PatientID": "WEB-1"}, fields=["StudyDescription", "00081010", "PatientAge"]
    )
    assert value(study, DESCRIPTION) == "Tórax de seguimiento"
    assert study[PATIENT_NAME]["Value"] == [{"Alphabetic": "MUÑOZ^ÍÑIGO"}]
    assert (value(study, "00201206"), value(study, "00201208"), study["00080061"]["Value"]) == (1, 3, ["CT"])


@pytest.mark.parametrize("separator", [",", "%2C", "%2c"])
@pytest.mark.usefixtures("patients")
def test_fields_may_be_listed_with_commas(pacs: RunningPacs, separator: str) -> None:
    """Browsers encode the comma between fields, other programs do not: both are understood."""
    query = f"PatientID=WEB-2&includefield={separator.join(['00080060', DESCRIPTION, '00080080'])}"
    (study,) = httpx.get(f"{pacs.url}/dicom-web/studies?{query}").json()
    assert value(study, DESCRIPTION) == "Rodilla, niño"


def test_search_lists_series_and_instances(client: DICOMwebClient, patients: list[Dataset]) -> None:
    """Series of a study, instances of a series, and instances of all studies are found, each with its number."""
    ultrasound = patients[4]
    series = client.search_for_series(ultrasound.StudyInstanceUID)
    assert sorted((value(each, "00080060"), value(each, "00201209")) for each in series) == [("SR", 1), ("US", 2)]
    instances = client.search_for_instances(ultrasound.StudyInstanceUID, ultrasound.SeriesInstanceUID)
    assert sorted(value(each, "00200013") for each in instances) == [1, 2]
    everywhere = client.search_for_instances(search_filters={"PatientID": "WEB-*"})
    assert {value(each, "00080018") for each in everywhere} == {each.SOPInstanceUID for each in patients}


# --- WADO-RS ---


def test_study_series_and_instance_are_fetched_whole(client: DICOMwebClient, patients: list[Dataset]) -> None:
    """Every element of every instance comes back."""
    one = patients[4]
    study, series = one.StudyInstanceUID, one.SeriesInstanceUID
    assert by_uid(client.retrieve_study(study)) == by_uid(patients[4:])
    assert by_uid(client.retrieve_series(study, series)) == by_uid(patients[4:6])
    assert client.retrieve_instance(study, series, one.SOPInstanceUID) == one


def test_metadata_hold_everything_but_the_pixels(client: DICOMwebClient, patients: list[Dataset]) -> None:
    """A viewer learns geometry, window and names of a whole study in one request, with accents as stored."""
    metadata = client.retrieve_study_metadata(patients[4].StudyInstanceUID)
    assert {value(each, "00080018") for each in metadata} == {each.SOPInstanceUID for each in patients[4:]}
    for each in metadata:
        read = Dataset.from_json({tag: element for tag, element in each.items() if BULK not in element})
        assert (str(read.PatientName), read.Rows, read.BitsStored) == ("GONÇALVES^INÊS", 64, 12)


@pytest.mark.parametrize("syntax", DISPLAYED, ids=lambda syntax: syntax.name)
def test_frame_comes_as_kept_and_decoded(client: DICOMwebClient, syntax: UID) -> None:
    """A viewer gets a frame as it is kept, and one that can't decode it gets the pixels."""
    image = stored(client, image_in(syntax, "WEB-FRAMES"))
    where = (image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID)
    (kept,) = client.retrieve_instance_frames(*where, frame_numbers=[1], media_types=AS_KEPT)
    assert kept in image.PixelData
    (plain,) = client.retrieve_instance_frames(*where, frame_numbers=[1], media_types=OCTETS)
    decoded = np.frombuffer(plain, image.pixel_array.dtype).reshape(image.pixel_array.shape)
    assert np.abs(decoded.astype(int) - image.pixel_array).max() <= (1 if syntax == JPEGBaseline8Bit else 0)


def test_frame_of_jpeg_2000_comes_as_kept(client: DICOMwebClient) -> None:
    """JPEG 2000, which viewers decode, is handed out untouched to those who take it as it is."""
    image = stored(client, image_in(JPEG2000Lossless, "WEB-J2K"))
    where = (image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID)
    (kept,) = client.retrieve_instance_frames(*where, frame_numbers=[1], media_types=AS_KEPT)
    assert kept.rstrip(b"\0") in image.PixelData
    assert client.retrieve_instance(*where, media_types=(("application/dicom", "*"),)) == image


def test_frames_of_a_loop_are_told_apart(client: DICOMwebClient) -> None:
    """Any frames of a multi-frame image, in the order asked for."""
    pixels = np.arange(6, dtype=np.uint8).repeat(16 * 16).reshape(6, 16, 16)
    loop = stored(client, capture(Series(Study(key="web loop"), "OT"), 1, pixels))
    where = (loop.StudyInstanceUID, loop.SeriesInstanceUID, loop.SOPInstanceUID)
    frames = client.retrieve_instance_frames(*where, frame_numbers=[2, 5], media_types=OCTETS)
    assert [(len(frame), frame[0]) for frame in frames] == [(256, 1), (256, 4)]


@pytest.mark.parametrize(("media_type", "kind"), [("image/jpeg", "JPEG"), ("image/png", "PNG")])
def test_image_is_rendered(client: DICOMwebClient, patients: list[Dataset], media_type: str, kind: str) -> None:
    """A page shows an image without knowing DICOM: the disc of the test image is bright on a dark ground."""
    one = patients[0]
    where = (one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID)
    rendered = Image.open(BytesIO(client.retrieve_instance_rendered(*where, media_types=(media_type,))))
    assert (rendered.format, rendered.size) == (kind, (64, 64))
    gray = np.asarray(rendered.convert("L"))
    assert gray[32, 32] > gray[2, 60] + 100


def test_document_is_fetched_as_bulk_data(client: DICOMwebClient, pacs: RunningPacs) -> None:
    """The metadata of a report name where its PDF is, and it comes from there as it was stored."""
    document = stored(client, pdf_document(Series(Study(key="web report"), "DOC"), 1, "Informe", ["Sin hallazgos."]))
    where = (document.StudyInstanceUID, document.SeriesInstanceUID, document.SOPInstanceUID)
    path = httpx.URL(client.retrieve_instance_metadata(*where)["00420011"][BULK]).path
    # The client names no port in its Host header, so none stands in the address that it is told.
    assert client.retrieve_bulkdata(f"{pacs.url}{path}", media_types=OCTETS) == [document.EncapsulatedDocument]


def test_addresses_in_answers_are_those_of_the_site(pacs: RunningPacs, patients: list[Dataset]) -> None:
    """Where an answer says that something is, it is: the browser's own address stands in it, not Orthanc's."""
    one = patients[0]
    instance = (
        f"/dicom-web/studies/{one.StudyInstanceUID}/series/{one.SeriesInstanceUID}/instances/{one.SOPInstanceUID}"
    )
    (metadata,) = httpx.get(f"{pacs.url}{instance}/metadata").json()
    assert metadata["7FE00010"][BULK].startswith(f"{pacs.url}{instance}/bulk")
    assert len(httpx.get(metadata["7FE00010"][BULK]).content) > len(one.PixelData)


@pytest.mark.parametrize(
    "what",
    [
        "",
        "/metadata",
        "/series/1.2.3",
        "/series/1.2.3/instances/1.2.3/frames/1",
        "/series/1.2.3/instances/1.2.3/rendered",
    ],
)
def test_what_is_not_there_is_not_found(pacs: RunningPacs, what: str) -> None:
    """An unknown study is a 404 that says so, not an empty success and not a fault of the server."""
    answer = httpx.get(f"{pacs.url}/dicom-web/studies/1.2.3{what}")
    assert answer.status_code == HTTPStatus.NOT_FOUND
    assert "inexistent" in answer.json()["Message"]


# --- STOW-RS ---


def test_one_and_many_instances_are_stored(client: DICOMwebClient) -> None:
    """A request with one instance and one with many are answered with each instance and where it is now."""
    images = [as_read(image) for image in stack_of(12, PatientID="WEB-STOW")]
    for sent in (images[:1], images[1:]):
        answer = client.store_instances(sent, study_instance_uid=images[0].StudyInstanceUID)
        assert [each.ReferencedSOPInstanceUID for each in answer.ReferencedSOPSequence] == [
            each.SOPInstanceUID for each in sent
        ]
        assert all(each.RetrieveURL.endswith(each.ReferencedSOPInstanceUID) for each in answer.ReferencedSOPSequence)
    assert by_uid(client.retrieve_study(images[0].StudyInstanceUID)) == by_uid(images)


def test_instance_that_is_stored_twice_is_there_once(client: DICOMwebClient) -> None:
    """A client that repeats a request is told success again, and nothing is doubled."""
    image = stored(client, stack_of(1, PatientID="WEB-TWICE")[0])
    assert stored(client, image) == image
    assert len(client.search_for_instances(image.StudyInstanceUID)) == 1


@pytest.mark.parametrize("fault", ["no DICOM", "cut short"])
def test_mixed_request_stores_the_good_and_names_them(pacs: RunningPacs, client: DICOMwebClient, fault: str) -> None:
    """One bad part spoils no other: the answer is no plain success and names exactly what is stored."""
    first, bad, last = stack_of(3, PatientID=f"WEB-MIXED-{fault}")
    part = b"This is no DICOM file." if fault == "no DICOM" else encoded(bad)[:-1000]
    answer = stow(pacs, [encoded(first), part, encoded(last)])
    assert answer.status_code in {HTTPStatus.ACCEPTED, HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT}
    named = [value(item, SOP_INSTANCE) for item in answer.json()[REFERENCED]["Value"]]
    assert named == [first.SOPInstanceUID, last.SOPInstanceUID]
    assert {value(each, "00080018") for each in client.search_for_instances(first.StudyInstanceUID)} == set(named)


def test_instance_of_another_study_is_refused_by_name(pacs: RunningPacs, client: DICOMwebClient) -> None:
    """An instance sent to the address of another study is named as failed, with a reason (PS3.18 10.5.3)."""
    (image,) = stack_of(1, PatientID="WEB-OTHER")
    answer = stow(pacs, [encoded(image)], study="1.2.3")
    (failed,) = answer.json()[FAILED]["Value"]
    assert value(failed, SOP_INSTANCE) == image.SOPInstanceUID
    assert value(failed, "00081197") > 0
    with pytest.raises(HTTPError, match="404"):
        client.retrieve_study(image.StudyInstanceUID)


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", 'multipart/related; type="application/dicom"']
)
def test_request_that_is_no_stow_is_refused(pacs: RunningPacs, content_type: str) -> None:
    """Another content type, or one without its boundary, is a fault of the client and is told so."""
    answer = httpx.post(f"{pacs.url}/dicom-web/studies", content=b"{}", headers={"Content-Type": content_type})
    assert HTTPStatus.BAD_REQUEST <= answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
    assert answer.json()["Message"]


def stored(client: DICOMwebClient, image: Dataset) -> Dataset:
    """Store an image by STOW-RS and return it as read from the file that was sent."""
    image = as_read(image)
    answer = client.store_instances([image])
    assert [each.ReferencedSOPInstanceUID for each in answer.ReferencedSOPSequence] == [image.SOPInstanceUID]
    return image


def stow(pacs: RunningPacs, parts: Sequence[bytes], *, study: str = "") -> httpx.Response:
    """Send files as they are: what no client library would send."""
    boundary = "part-of-the-test"
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(head + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
    return httpx.post(f"{pacs.url}/dicom-web/studies/{study}".rstrip("/"), content=body, headers=headers)


def by_uid(instances: Sequence[Dataset]) -> dict[str, Dataset]:
    """Return instances by their SOP Instance UIDs."""
    return {each.SOPInstanceUID: each for each in instances}


def value(element_set: dict[str, dict[str, list[object]]], tag: str) -> object:
    """Return the first value of an element of the DICOM JSON model."""
    return element_set[tag]["Value"][0]
