"""The manual: links lead somewhere, samples are what the program takes, and an editor's validator agrees with the reader."""

import json
import re
from functools import cache
from pathlib import Path

import jsonschema
import lrc
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("docs/*.md")), *(ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CONTRIBUTING", "CHANGELOG"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)


class Yaml12(yaml.SafeLoader):
    """Numbers as YAML 1.2 has them, which editors read: `4e-3` is one."""


Yaml12.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?$"), list("-+.0123456789"))


def anchors(page):
    """The places of a page that links can name."""
    text = FENCED.sub("", page.read_text())
    heads = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    text = FENCED.sub("", page.read_text())
    text = re.sub(r"`[^`\n]*`", "", text)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    for link in links:
        if re.match(r"https?:|mailto:", link):
            continue
        path, _, place = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if place:
            assert place in anchors(target), f"{page.name} links to {link}, which has {sorted(anchors(target))}"


def test_the_summary_lists_every_page():
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs/SUMMARY.md").read_text())
    assert sorted(listed) == sorted(page.name for page in ROOT.glob("docs/*.md") if page.name != "SUMMARY.md")
    for name, page in re.findall(r"\[([^\]]+)\]\(([\w-]+\.md)\)", (ROOT / "docs/SUMMARY.md").read_text()):
        assert (ROOT / "docs" / page).read_text().startswith(f"# {name}\n")


@cache
def helped(command):
    """What the help of a command says; None where there is no such command."""
    try:
        return lrc.command(*command.split(), "--help", quiet=True)
    except lrc.Failed:
        return None


def test_commands_of_samples_exist_with_their_options():
    seen = 0
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue
        text = page.read_text()
        for line in [*re.findall(r"`(lrc [^`\n]+)`", text), *re.findall(r"^(?:    |\$ )?(lrc [^\n]+)$", text, re.M)]:
            # Behind two spaces or a sign stands what the command does.
            words = re.split(r"\s{2,}|\s#|\.\.\.|[;|>]", line)[0].split()[1:]
            names = [word for word in words[:2] if re.fullmatch(r"[a-z]+", word)]
            if not names:
                continue
            name = next((known for known in (" ".join(names), names[0]) if helped(known)), None)
            assert name, f"{page.name}: {line}"
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", line.split("  ")[0]):
                options = helped(name) + ("--version --help" if name else "")
                assert re.search(rf"{option}\b", options), f"{page.name}: `lrc {name}` has no {option}: {line}"
            seen += 1
    assert seen > 60


def test_the_first_page_runs_as_it_stands(tmp_path, monkeypatch):
    page = (ROOT / "docs/first-recurrence.md").read_text()
    samples = FENCED.findall(page)
    (tmp_path / "mine.arch").write_text(next(text for kind, text in samples if kind == "arch"))
    (tmp_path / "mine.yaml").write_text(next(text for kind, text in samples if kind == "yaml"))
    monkeypatch.chdir(tmp_path)
    sessions = [text for kind, text in samples if kind == "console"]
    assert len(sessions) == 4
    for session in sessions:
        first, *wanted = session.splitlines()
        words = first.removeprefix("$ lrc ").split()
        if words[0] == "train":
            words += ["--set", "length=4 steps", "--set", "eval.every=2 steps", "--set", "eval.sequences=8"]
            lrc.command(*words, quiet=True)
            assert (tmp_path / "runs/mine/report.html").exists()
            continue
        said = lrc.command(*words, quiet=True)
        for line in wanted:
            # Errors of rounding are each machine's own.
            shape = r"\s+".join(r"\S+" if re.fullmatch(r"[\d.]+e-\d+", word) else re.escape(word) for word in line.split())
            assert re.search(shape, said), f"{first} does not say: {line}\n{said}"


def test_every_text_of_the_pages_is_sound():
    texts = [(page.name, text) for page in PAGES for kind, text in FENCED.findall(page.read_text()) if kind == "arch"]
    assert texts
    for name, text in texts:
        assert lrc.check(text) == [], name


def validator(kind):
    schema = json.loads((ROOT / f"docs/{kind}.schema.json").read_text())
    which = jsonschema.validators.validator_for(schema)
    which.check_schema(schema)
    return which(schema)


def test_an_editors_validator_takes_every_shipped_file():
    kinds = {kind: validator(kind) for kind in ("spec", "study", "experiment")}
    counted = dict.fromkeys(kinds, 0)
    for path in [*ROOT.glob("specs/**/*.yaml"), *ROOT.glob("examples/**/*.yaml")]:
        tree = yaml.load(path.read_text(), Yaml12)
        kind = "study" if "space" in tree else "experiment" if "variants" in tree or "seeds" in tree else "spec"
        errors = [f"{'.'.join(map(str, error.path))}: {error.message}" for error in kinds[kind].iter_errors(tree)]
        assert not errors, f"{path.relative_to(ROOT)} as {kind}: {errors}"
        counted[kind] += 1
    assert counted["spec"] >= 10 and counted["study"] >= 4 and counted["experiment"] >= 3, counted
    for broken in ({"model": {"file": 3}}, {"task": {"mqar": {"lenght": 8}}}):
        assert list(kinds["spec"].iter_errors(broken)), broken


def test_yaml_of_the_pages_fits_some_schema():
    schemas = []
    for kind in ("spec", "study", "experiment"):
        schema = json.loads((ROOT / f"docs/{kind}.schema.json").read_text())
        # A page shows parts of files.
        schema.pop("required", None)
        schemas.append(jsonschema.validators.validator_for(schema)(schema))
    blocks = [(page.name, text) for page in PAGES for kind, text in FENCED.findall(page.read_text()) if kind == "yaml"]
    assert len(blocks) >= 8
    for name, text in blocks:
        for tree in yaml.load_all(text, Yaml12):
            found = [[error.message for error in schema.iter_errors(tree)] for schema in schemas]
            assert any(not errors for errors in found), f"{name}: {text}\n{found}"


def test_every_command_has_a_manual_page(tmp_path):
    said = lrc.command("man", "--out", tmp_path / "man", quiet=True)
    pages = {path.name: path.read_text() for path in (tmp_path / "man").iterdir()}
    assert f"{len(pages)} pages" in said and {"lrc.1", "lrc-train.1", "lrc-export-onnx.1", "lrc-data-tokenize.1"} <= set(pages)
    assert all(text.startswith(".ie") or ".TH" in text for text in pages.values())
    assert "\\-\\-resume" in pages["lrc-train.1"]


def test_the_grammar_of_editors_knows_every_word_of_the_language():
    grammar = (ROOT / "dsl/src/grammar.pest").read_text()
    words = {word for line in grammar.splitlines() if "!word" in line for word in re.findall(r'"([a-z]\w+)"', line)}
    assert len(words) > 25
    patterns = json.loads((ROOT / "docs/editors/lrc.tmLanguage.json").read_text())["patterns"]
    named = {word for pattern in patterns for word in re.findall(r"[a-z]\w+", pattern["match"].replace("\\b", " "))}
    assert words <= named | {"decay"}, sorted(words - named)
    first = lambda text: next(p["name"] for p in patterns if "name" in p and re.match(p["match"], text))
    assert first("/// words") == "comment.line.documentation.lrc" and first("state S") == "storage.modifier.lrc"
    assert first("exp(g)") == "entity.name.function.lrc" and first("1.5e-3") == "constant.numeric.lrc"
