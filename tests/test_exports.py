"""The surface: what ``import legion`` promises."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

from pathlib import Path

import pytest

import legion

from legion import cache, integrations, stats


ROOT = Path(__file__).parents[1]


def test_every_promised_name_is_there():
    """Each name in ``__all__`` can be touched, once, in alphabetical order."""
    for name in legion.__all__:
        assert getattr(legion, name) is not None
    assert legion.__all__ == sorted(legion.__all__)
    assert len(legion.__all__) == len(set(legion.__all__))


def test_type_checkers_see_what_runs():
    """The names imported for type checkers are those that load lazily."""
    tree = ast.parse((ROOT / "legion/__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert seen == set(legion.__all__)


def test_importing_legion_imports_nothing_else():
    """Names load their rooms when touched; until then there is only the package."""
    code = (
        "import __future__, importlib, sys; before = set(sys.modules); import legion;"
        "print(set(sys.modules) - before)"
    )
    run = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )

    assert run.stdout.strip() == "{'legion'}"


def test_an_unknown_name_says_so():
    """A misspelt name is an AttributeError, as for any module."""
    with pytest.raises(AttributeError, match="no attribute 'Wachdog'"):
        legion.Wachdog  # noqa: B018 - touching it is the test


def test_the_version_is_the_distribution_s():
    """``__version__`` is what the metadata say."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")

    assert f'version = "{legion.__version__}"' in project


@pytest.mark.parametrize(
    "package", [legion, cache, integrations, stats], ids=lambda x: x.__name__
)
def test_the_reference_lists_what_is_promised(package):
    """docs/reference.md has a line for every public name, and for nothing else."""
    reference = (ROOT / "docs/reference.md").read_text("utf-8")
    _, _, section = reference.partition(f"## {package.__name__}\n")
    section, _, _ = section.partition("\n## ")
    rows = re.findall(r"^\| `(?:legion\.)?(\w+)`", section, re.MULTILINE)

    assert sorted(rows) == sorted(package.__all__)


def pages():
    docs = ROOT / "docs"
    return sorted(page.relative_to(docs).as_posix() for page in docs.rglob("*.md"))


def test_the_index_links_every_page():
    """A page that nobody finds is not finished."""
    index = (ROOT / "docs/index.md").read_text("utf-8")
    linked = re.findall(r"\]\(([^)#]+)\)", index)

    assert sorted([*linked, "index.md"]) == pages()


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{page}" for page in pages())])
def test_every_link_leads_somewhere(page):
    """To a file that is there, and to a heading that it has."""
    text = (ROOT / page).read_text("utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, heading = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), link
        if heading:
            assert heading in headings(target), link


def headings(page):
    """Return the anchors of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles
    }
