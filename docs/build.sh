#!/usr/bin/env bash
# Builds the manual, docs/*.md and the documents beside README.md as one book, into target/manual/book. Fetches mdBook with
# cargo, into target/tools, once. Any warning of mdBook is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.5.4
tools=target/tools/mdbook-$version
[[ -x "$tools/bin/mdbook" ]] || cargo install --quiet --locked --root "$tools" "mdbook@$version"
# The documents keep their places, so that links between them mean in the book what they mean in the repository.
book=target/manual
rm -rf "$book" && mkdir -p "$book/src"
cp -r ./*.md docs examples "$book/src"
sed 's#](\.\./#](#; t; s#](\([a-z]\)#](docs/\1#' docs/SUMMARY.md >"$book/src/SUMMARY.md"
cat >"$book/book.toml" <<'TOML'
[book]
title = "lrc"
language = "en"
[output.html]
no-section-label = true
TOML
said=$("$tools/bin/mdbook" build "$book" 2>&1) || { echo "$said" >&2; exit 1; }
if grep -iE "warn|error" <<<"$said" >&2; then exit 1; fi
echo "$book/book/index.html"
