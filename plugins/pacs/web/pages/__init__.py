"""The pages, one module each."""

from pacs.web.pages import aes, frames, home, studies, study, system, upload

STANDARD_PAGES = (home.PAGES, studies.PAGES, study.PAGES, upload.PAGES, aes.PAGES, system.PAGES, frames.PAGES)
