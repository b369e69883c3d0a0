#!/bin/sh
# Makes a virtual environment of requirements.lock in this directory; from wheelhouse/ alone where that is there.
set -eu
index=
[ ! -d wheelhouse ] || index='--no-index --find-links wheelhouse'
python3 -m venv .
# Each package is the one that was tested, byte by byte: its hash stands in the lock file.
bin/pip install --no-input --quiet --disable-pip-version-check --no-cache-dir --no-compile --only-binary=:all: --no-deps \
  --require-hashes $index --requirement requirements.lock
# A server that faces the internet needs nothing that installs programs.
bin/pip uninstall --yes --quiet pip
rm -rf wheelhouse
# Once, by root: the service can't write here, and would compile everything at each start.
python3 -W ignore -m compileall -q --invalidation-mode unchecked-hash -j 0 lib
chmod -R u=rwX,go=rX .
basename "$PWD" > .whole
