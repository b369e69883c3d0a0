"""OHIF as its npm package brings it (built for the root of a site), made ready for /ohif/ of ours."""

from __future__ import annotations

import hashlib
import re
import shutil
import string
import subprocess
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from npm_packages import BuildError, unpack

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "ohif"
ADDRESS = "/ohif/"

# OHIF's own index.html is not used: ours says the same without inline scripts. A version whose page differs has to be
# looked at.
KNOWN_INDEX_SHA256 = "3a3a399b817cb0a65858e869c19499a76da5acce914cfc04a1507ad046228e71"

# Never asked for: onnxruntime (136 MB) belongs to one segmentation tool that fetches its model from another host and is
# switched off in app-config.js; source maps; OHIF's own sign-in, service worker and polyfills; icons for phones.
UNUSED_PREFIXES = (
    "ort/",
    "customizations/",
    "assets/apple-touch-startup-image",
    "assets/mstile",
    "assets/yandex",
    "assets/firefox",
)
UNUSED_SUFFIXES = (".map",)
UNUSED_FILES = frozenset(
    {
        "_headers",
        "_redirects",
        "app-config.js",
        "assets/browserconfig.xml",
        "assets/manifest.webapp",
        "es6-shim.min.js",
        "google.js",
        "init-service-worker.js",
        "oidc-client.min.js",
        "polyfill.min.js",
        "serve.json",
        "silent-refresh.html",
        "sw.js",
    }
)

# The parts of OHIF that are loaded before the first image of a study, in three waves, each heard of only when the one
# before has run. They are joined to one file that comes along with the main program. (Known by watching a browser; a
# part that is missing here or not needed any more costs some milliseconds, nothing else.)
EARLY_PARTS = (
    *("1673", "6938", "6489", "6495", "8478", "89", "2779", "2623"),
    *("6749", "5696", "1483", "9383", "7499", "8492", "9290", "4683", "1180"),
    *("7248", "781", "9415", "3500", "9116", "100", "5406", "3760", "9068", "899", "7463", "5448", "5910", "1206"),
)
EARLY_STYLES = ("6214", "2623", "8492", "3833", "781", "9415", "3760", "7463", "5910")

PROGRAM_MODULES = 772

# Files that keep their name and their place beside index.html: these are found by their own address.
FIXED_FILES = (
    "index.html",
    "app-config.js",
    "manifest.json",
    "assets",
    "LICENSE.txt",
    "ohif-logo.svg",
    "ohif-logo-light.svg",
)

COMPRESSED_SUFFIXES = frozenset({".css", ".html", ".js", ".json", ".svg", ".txt", ".wasm"})
ESBUILD_TIMEOUT_SECONDS = 120


def build(tarball: Path, esbuild: Path | None, directory: Path) -> None:
    """Unpack OHIF into `directory`, change what must be changed, minify, and compress.

    Raises
    ------
    BuildError : the package does not look as this program knows it (another version needs another look).
    """
    unpack(tarball, directory.parent / "ohif-package", _is_wanted)
    (directory.parent / "ohif-package" / "dist").rename(directory)
    (directory.parent / "ohif-package" / "LICENSE").rename(directory / "LICENSE.txt")
    edition = f"build-{_hash_of_inputs(tarball)}"
    _check_index(directory / "index.html")
    _rewrite(directory, f"{ADDRESS}{edition}/")
    _split_program(directory)
    if esbuild:
        _minify(directory, esbuild)
    for name in ("boot.js", "strided-view.js"):
        shutil.copy(SOURCES / name, directory / name)
    _join_early_parts(directory)
    _move_lasting_files(directory, directory / edition)
    _write_page(directory, edition)
    _compress(path for path in directory.rglob("*") if path.is_file())


def _is_wanted(member: str) -> bool:
    if member == "LICENSE":
        return True
    directory, _, name = member.partition("/")
    unused = name in UNUSED_FILES or name.startswith(UNUSED_PREFIXES) or name.endswith(UNUSED_SUFFIXES)
    return directory == "dist" and not unused


def _hash_of_inputs(tarball: Path) -> str:
    """Return a short hash of everything that decides about the output: other input, other address, no stale caches."""
    digest = hashlib.sha256(tarball.read_bytes())
    for path in sorted([*HERE.glob("*.py"), HERE / "packages.json", *SOURCES.iterdir()]):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _check_index(index: Path) -> None:
    found = hashlib.sha256(index.read_bytes()).hexdigest()
    if found != KNOWN_INDEX_SHA256:
        raise BuildError(
            f"OHIF's index.html is not the one known here (sha256 {found})."
            " Compare it with viewer-config/ohif/index.html, then write its hash into KNOWN_INDEX_SHA256."
        )


def _rewrite(directory: Path, address: str) -> None:
    """Rewrite absolute addresses and one library in OHIF's files; each text is expected an exact number of times."""
    app = _only(directory, "app.bundle.*.js")
    # The main program and each of the seven workers carry the public path of their own.
    _replace(directory.glob("*.js"), '__webpack_require__.p = "/"', f'__webpack_require__.p = "{address}"', expected=8)
    _replace([app], "'/dicom-microscopy-viewer/", f"'{address}dicom-microscopy-viewer/", expected=1)
    # See ohif/strided-view.js; the library is in three bundles.
    maker = "function compileConstructor(dtype, dimension) {"
    _replace(directory.glob("*.js"), maker, f"{maker} return window.pacsStridedView(dtype, dimension);", expected=3)
    _replace(directory.glob("*.css"), "url(/", f"url({address}", expected=5)
    _replace([directory / "manifest.json"], '"/assets/', f'"{ADDRESS}assets/', expected=9)


def _replace(paths: Iterable[Path], old: str, new: str, *, expected: int) -> None:
    """Replace `old` in all files. Raise BuildError unless it stood there `expected` times in all."""
    found = 0
    for path in paths:
        text = path.read_text(encoding="utf-8")
        if count := text.count(old):
            path.write_text(text.replace(old, new), encoding="utf-8")
            found += count
    if found != expected:
        raise BuildError(
            f"Expected {old!r} {expected} times in OHIF's files, found it {found} times: is this another version?"
        )


def _only(directory: Path, pattern: str) -> Path:
    """Return the one file that matches."""
    found = list(directory.glob(pattern))
    if len(found) != 1:
        raise BuildError(f"Expected one file {pattern} in OHIF's package, found {len(found)}: is this another version?")
    return found[0]


def _split_program(directory: Path) -> None:
    """Move the modules of the main program into two scripts before it, which leaves it the loader of modules alone.

    A browser reads two scripts at once, on two processors. And whenever it has to tell where in a script something
    happened (a trace, an open console) it parses that script again as a whole: this one is now small.
    """
    program = _only(directory, "app.bundle.*.js")
    text = program.read_text(encoding="utf-8")
    head, tail = "(() => {\nvar __webpack_modules__ = ({\n", "\n});\n// The module cache\n"
    start, end = len(head), text.rfind(tail)
    boundaries = [match.end() for match in re.finditer(r"\n\},\n(?=\d+\([\w, ]*\) \{\n)", text[:end])]
    if not text.startswith(head) or end < 0 or len(boundaries) != PROGRAM_MODULES - 1:
        raise BuildError(
            f"OHIF's main program is not built of {PROGRAM_MODULES} modules as known here: is this another version?"
        )
    middle = min(boundaries, key=lambda boundary: abs(boundary - (start + end) // 2))
    for name, part in (("program-1", text[start:middle]), ("program-2", text[middle:end])):
        registered = f'(globalThis["rspackChunk"] ||= []).push([["{name}"], {{\n{part}\n}}]);\n'
        (directory / f"{name}.js").write_text(registered, encoding="utf-8")
    program.write_text(text[:start] + text[end:], encoding="utf-8")


def _minify(directory: Path, esbuild: Path) -> None:
    """Make the scripts smaller in place: the package is not minified, and a browser's parser pays by the character."""
    scripts = sorted(str(path) for path in directory.glob("*.js"))
    options = ["--minify", "--charset=utf8", "--legal-comments=eof", "--allow-overwrite", "--log-level=error"]
    chatter = [f"--pure:console.{name}" for name in ("debug", "info", "log", "time", "timeEnd")]
    command = [str(esbuild), *scripts, *options, *chatter, f"--outdir={directory}"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=ESBUILD_TIMEOUT_SECONDS, check=False)
    if result.returncode != 0:
        raise BuildError(f"esbuild could not minify OHIF: {result.stderr.strip().splitlines()[:1]}")


def _join_early_parts(directory: Path) -> None:
    """Write early.js and early.css. Each script keeps a scope of its own, for some are strict code and some are not."""
    scripts = (_only(directory, f"{number}.bundle.*.js").read_text(encoding="utf-8") for number in EARLY_PARTS)
    joined = "\n".join(f"(()=>{{{script}\n}})();" for script in scripts)
    (directory / "early.js").write_text(joined, encoding="utf-8")
    styles = ((directory / f"{name}.css").read_text(encoding="utf-8") for name in ("app.bundle", *EARLY_STYLES))
    (directory / "early.css").write_text("\n".join(styles), encoding="utf-8")


def _move_lasting_files(directory: Path, edition: Path) -> None:
    """Move all but the fixed files into the folder whose address changes with its content."""
    lasting = [path for path in directory.iterdir() if path.name not in FIXED_FILES]
    edition.mkdir()
    for path in lasting:
        path.rename(edition / path.name)


def _write_page(directory: Path, edition: str) -> None:
    """Write our index.html and app-config.js."""
    address = f"{ADDRESS}{edition}"
    page = string.Template((SOURCES / "index.html").read_text(encoding="utf-8")).substitute(
        edition=address,
        app_script=_only(directory / edition, "app.bundle.*.js").name,
        # By such an element OHIF knows that a style is there already, and does not ask for its file.
        early_styles="\n".join(f'    <style data-href="{number}.css"></style>' for number in EARLY_STYLES),
    )
    (directory / "index.html").write_text(page, encoding="utf-8")
    shutil.copy(SOURCES / "app-config.js", directory / "app-config.js")


def _compress(paths: Iterable[Path]) -> None:
    """Write a .gz beside each file that gets smaller by it; NGINX serves that one to browsers."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(_compress_file, [path for path in paths if path.suffix in COMPRESSED_SUFFIXES]))


def _compress_file(path: Path) -> None:
    content = path.read_bytes()
    # wbits 31 is the gzip format, with no name and no time: the same input gives the same file.
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31, 9)
    compressed = compressor.compress(content) + compressor.flush()
    if len(compressed) < len(content):
        path.with_name(path.name + ".gz").write_bytes(compressed)
