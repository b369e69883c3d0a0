"""OHIF's speed in Chromium: from the address in a cold browser to the first pixels, and to the last slice.

Beside ours stands OHIF as its makers publish it: the same version, unchanged, with the configuration and NGINX of
their recipe for Orthanc (platform/app/.recipes/Nginx-Orthanc), before stock Orthanc.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.contenders import Contender
from benchmarks.measures import Scan
from fixtures.browsers import ARGUMENTS
from pacs.embedded.options import free_loopback_port

VIEWER_CONFIG = Path("/opt/pacs/viewer-config")
GRAPHICS = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
SECONDS = 120

# Runs in the page before anything of OHIF's: looks at the canvas every 40 ms, and counts the images that are decoded.
WATCH = """
(() => {
  if (window.top !== window) return;
  window.seen = {first: null, all: null, loaded: 0};
  const probe = document.createElement('canvas'); probe.width = probe.height = 16;
  const pen = probe.getContext('2d', {willReadFrequently: true});
  const look = setInterval(() => {
    const canvas = document.querySelector('canvas.cornerstone-canvas');
    if (!canvas || !canvas.width) return;
    pen.clearRect(0, 0, 16, 16); pen.drawImage(canvas, 0, 0, 16, 16);
    const levels = pen.getImageData(0, 0, 16, 16).data.filter((_, index) => index % 4 === 0);
    if (Math.max(...levels) - Math.min(...levels) > 30) { window.seen.first = performance.now(); clearInterval(look); }
  }, 40);
  const wait = setInterval(() => {
    const target = window.cornerstone && window.cornerstone.eventTarget;
    if (!target) return;
    clearInterval(wait);
    const images = new Set();
    target.addEventListener('CORNERSTONE_IMAGE_LOADED', event => {
      images.add(event.detail.image.imageId);
      window.seen.loaded = images.size; window.seen.all = performance.now();
    });
  }, 5);
})();
"""


def open_in_ohif(contender: Contender, scan: Scan) -> dict[str, float]:
    """Open the scan with a cold browser; return the seconds until the first pixels and until all slices are there."""
    address = f"{contender.viewer_url}/viewer?StudyInstanceUIDs={scan.study_instance_uid}"
    with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=shutil.which("chromium"),
            headless=True,
            args=[*ARGUMENTS, *GRAPHICS],
            viewport={"width": 1400, "height": 900},
        )
        context.add_init_script(WATCH)
        page = context.new_page()
        page.goto(address, wait_until="commit")
        seen = _wait_for_all(page, scan.instances)
        context.close()
    return {"OHIF, first pixels": seen["first"] / 1000, "OHIF, all slices": seen["all"] / 1000}


def _wait_for_all(page: Page, instances: int) -> dict[str, float]:
    """Return what WATCH saw, asking again and again: the page's policy forbids waiting by a string of script."""
    seen: dict[str, float] | None = None
    for _ in range(SECONDS * 10):
        seen = page.evaluate("window.seen")
        if seen and seen["first"] and seen["loaded"] >= instances:
            return seen
        page.wait_for_timeout(100)
    message = f"after {SECONDS} s OHIF had shown {seen}"
    raise RuntimeError(message)


@contextmanager
def published_ohif(orthanc_url: str, directory: Path) -> Iterator[str]:
    """Serve OHIF as published, before the Orthanc at `orthanc_url`; yield its address."""
    html = directory / "html"
    _unpack_ohif(directory / "packages", html)
    (html / "app-config.js").write_text(PUBLISHED_CONFIGURATION, encoding="utf-8")
    port = free_loopback_port()
    configuration = directory / "nginx.conf"
    text = PUBLISHED_NGINX % {"directory": directory, "html": html, "port": port, "orthanc": orthanc_url}
    configuration.write_text(text, encoding="utf-8")
    process = subprocess.Popen(["nginx", "-e", str(directory / "error.log"), "-c", str(configuration)])
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _unpack_ohif(packages: Path, html: Path) -> None:
    """Fetch the npm package that our viewers are built from, and unpack what it publishes."""
    npm = packages / "npm"
    subprocess.run([sys.executable, "-m", "venv", str(npm)], check=True)
    lock = str(VIEWER_CONFIG / "npm.lock")
    subprocess.run([str(npm / "bin" / "pip"), "install", "-q", "--require-hashes", "-r", lock], check=True)
    program = (
        "import os, sys; from pathlib import Path; import npm_packages as p;"
        "os.environ['PATH'] = sys.argv[1] + ':' + os.environ['PATH'];"
        "package = p.load_packages(Path(sys.argv[2]) / 'packages.json')['@ohif/app'];"
        "print(p.obtain(package, Path(sys.argv[3])))"
    )
    command = [sys.executable, "-c", program, str(npm / "bin"), str(VIEWER_CONFIG), str(packages)]
    done = subprocess.run(command, cwd=VIEWER_CONFIG, capture_output=True, text=True, check=True)
    shutil.unpack_archive(done.stdout.strip(), packages / "ohif", "gztar", filter="data")
    shutil.move(packages / "ohif" / "package" / "dist", html)


PUBLISHED_CONFIGURATION = """
window.config = {
  routerBasename: '/', showStudyList: true, extensions: [], modes: [],
  showWarningMessageForCrossOrigin: true, showCPUFallbackMessage: true, showLoadingIndicator: true,
  experimentalStudyBrowserSort: false, strictZSpacingForVolumeViewport: true,
  studyPrefetcher: {enabled: true, displaySetsCount: 2, maxNumPrefetchRequests: 10, order: 'closest'},
  defaultDataSourceName: 'dicomweb',
  dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'dicomweb',
    configuration: {
      friendlyName: 'Orthanc Server', name: 'Orthanc', wadoUriRoot: '/pacs/wado', qidoRoot: '/pacs/dicom-web',
      wadoRoot: '/pacs/dicom-web', qidoSupportsIncludeField: false, imageRendering: 'wadors',
      thumbnailRendering: 'wadors', dicomUploadEnabled: true, omitQuotationForMultipartRequest: true,
    },
  }],
};
"""

PUBLISHED_NGINX = """
daemon off; worker_processes 2; pid %(directory)s/nginx.pid; error_log %(directory)s/error.log;
events { worker_connections 1024; use epoll; multi_accept on; }
http {
  include /etc/nginx/mime.types; default_type application/octet-stream; access_log off;
  client_body_temp_path %(directory)s/body; proxy_temp_path %(directory)s/proxy; fastcgi_temp_path %(directory)s/x;
  uwsgi_temp_path %(directory)s/x; scgi_temp_path %(directory)s/x;
  keepalive_timeout 65; keepalive_requests 100000; tcp_nopush on; tcp_nodelay on;
  server {
    listen 127.0.0.1:%(port)s;
    gzip on; gzip_types text/css application/javascript application/json image/svg+xml; gzip_comp_level 9; etag on;
    location /pacs/ {
      proxy_http_version 1.1; proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
      expires 0; add_header Cache-Control private; proxy_pass %(orthanc)s/;
    }
    location / {
      root %(html)s; index index.html; try_files $uri $uri/ /index.html;
      add_header Cache-Control "no-store, no-cache, must-revalidate";
      add_header Cross-Origin-Opener-Policy same-origin always;
      add_header Cross-Origin-Embedder-Policy require-corp always;
    }
  }
}
"""
