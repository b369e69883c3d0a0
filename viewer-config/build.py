"""Builds what browsers load from us beside our own pages: OHIF, ready to be served under /ohif/, zip.js and OGL.

usage: build.py --packages DIRECTORY --output DIRECTORY

Tarballs of packages.json that are missing in the first directory are fetched with npm. The second gets

    ohif/                   the viewer: index.html, app-config.js, build-<hash>/ (never changes, may be kept for ever)
    pacs-vendor/zip.min.js  what the upload page reads ZIP archives with
    pacs-vendor/ogl.min.js  what the 3D pages draw models with (WebGL)
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

import ohif_build
from npm_packages import BuildError, Package, load_packages, obtain, unpack

HERE = Path(__file__).resolve().parent
OGL_PARTS = ("Camera", "Geometry", "Mesh", "Orbit", "Program", "Renderer", "Transform", "Vec3")


def main() -> int:
    """Build; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True, help="directory of the npm tarballs")
    parser.add_argument("--output", type=Path, required=True, help="directory to write ohif/ and pacs-vendor/ into")
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        build(arguments.packages, arguments.output)
    except BuildError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"viewers built in {time.monotonic() - started:.1f} s: {arguments.output}\n")
    return 0


def build(packages_directory: Path, output: Path) -> None:
    """Fetch, check and build everything into `output`; what stood there before is replaced once all is well."""
    packages = load_packages(HERE / "packages.json")
    tarballs = {name: obtain(package, packages_directory) for name, package in packages.items()}
    partial = output / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        esbuild = _minifier(packages, tarballs, partial / "tools")
        ohif_build.build(tarballs["@ohif/app"], esbuild, partial / "ohif")
        _build_vendor(tarballs["@zip.js/zip.js"], partial / "pacs-vendor")
        if esbuild:
            _bundle_ogl(tarballs["ogl"], esbuild, partial / "tools", partial / "pacs-vendor" / "ogl.min.js")
        for name in ("ohif", "pacs-vendor"):
            shutil.rmtree(output / name, ignore_errors=True)
            (partial / name).rename(output / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _minifier(packages: dict[str, Package], tarballs: dict[str, Path], directory: Path) -> Path | None:
    """Unpack esbuild; None on a processor that it is not pinned for (the viewer then starts slower, nothing else)."""
    for name in packages:
        if name.startswith("@esbuild/"):
            unpack(tarballs[name], directory, lambda member: member == "bin/esbuild")
            return directory / "bin" / "esbuild"
    return None


def _build_vendor(tarball: Path, directory: Path) -> None:
    """Take zip.js with its licence."""
    unpack(tarball, directory, lambda member: member in ("dist/zip.min.js", "LICENSE"))
    (directory / "dist" / "zip.min.js").rename(directory / "zip.min.js")
    (directory / "LICENSE").rename(directory / "zip.LICENSE.txt")
    (directory / "dist").rmdir()


def _bundle_ogl(tarball: Path, esbuild: Path, tools: Path, target: Path) -> None:
    """Put the parts of OGL that the pages use into one module: fifty files become one of 55 KB."""
    unpack(
        tarball, tools / "node_modules" / "ogl", lambda member: member == "package.json" or member.startswith("src/")
    )
    entry = tools / "ogl.js"
    entry.write_text(f'export {{ {", ".join(OGL_PARTS)} }} from "ogl";\n', encoding="utf-8")
    options = ["--bundle", "--minify", "--format=esm", "--target=es2022", "--log-level=error", f"--outfile={target}"]
    result = subprocess.run([esbuild, entry, *options], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BuildError(f"esbuild could not bundle OGL: {result.stderr.strip().splitlines()[:1]}")


if __name__ == "__main__":
    sys.exit(main())
