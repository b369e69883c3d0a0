#!/bin/sh
# Packs what a server needs of a checkout, without tests, and prints the archive's name: the project's version and what
# it holds, so that other content is another release. usage: release.sh CHECKOUT DIRECTORY
set -eu
checkout=$1 directory=$2
mkdir -p "$directory"
partial=$(mktemp "$directory/.partial.XXXXXX")
trap 'rm -f "$partial"' EXIT
# The same content gives the same bytes: no times, no owners, a fixed order.
tar -C "$checkout" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
  --exclude=__pycache__ --exclude='*.pyc' --exclude='.*' --exclude='*.partial' \
  -cf "$partial" plugins orthanc viewer-config requirements.lock LICENSE
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$checkout/pyproject.toml" | head -n 1)
name=$version-$(sha256sum "$partial" | cut -c1-12)
mv "$partial" "$directory/$name.tar"
trap - EXIT
echo "$name"
