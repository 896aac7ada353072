"""The project's checks, by name: `nox -l` lists them, `nox -s NAME` runs one.

`gates` is what every change must pass, and runs in the environment that nox itself is in: one environment, set up
once. All other sessions make environments of their own, because they ask what happens with another Python, another
Trio or without a package.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox
from packaging.requirements import Requirement

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
TRIOS = ["0.31", "0.32", "0.33", "0.34", "0.35"]
PSYCOPGS = ["3.2.13", "3.3.0", "3.3.*"]
PROJECT = nox.project.load_toml("pyproject.toml")["project"]

# pyright asks the first Python in PATH where packages are (`--verifytypes` heeds no other setting), and would ask the
# network whether there is a newer pyright.
GATE = {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",
}

nox.options.sessions = ["gates"]
nox.options.error_on_missing_interpreters = False


def runs_here(version: str) -> bool:
    """Whether `pythonX.Y` is here and starts: version managers leave names in PATH that only print an error."""
    program = shutil.which(f"python{version}")
    if program is None:
        return False
    return subprocess.run([program, "-c", ""], capture_output=True, check=False).returncode == 0  # noqa: S603 - a fixed call


def lowest() -> list[str]:
    """Pin everything that nurselog and its tests admit a range of to the range's lower end."""
    extras = PROJECT["optional-dependencies"]
    requirements = [Requirement(text) for text in [*PROJECT["dependencies"], *extras["demo"], *extras["test"]]]
    ours = {"anyio", "msgspec", "outcome", "trio"}
    return [
        f"{requirement.name}=={bound.version}"
        for requirement in requirements
        for bound in requirement.specifier
        if requirement.name in ours and bound.operator == ">="
    ]


def servers() -> list[Path]:
    """Find the PostgreSQL servers that are installed here, beside the one that comes as a wheel."""
    return sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def pytest(session: nox.Session, *arguments: str) -> None:
    """Run the tests on all processors; what stands after `--` on the command line goes to pytest."""
    session.run("python", "-m", "pytest", "-n", "auto", *arguments, *session.posargs)


def pytest_at_length(session: nox.Session, *arguments: str, **environment: str) -> None:
    """Run tests that repeat more often, a hundred times unless told; none is taken to hang before a day is over."""
    patience = ("-o", "faulthandler_timeout=86400")
    options = (*patience, *arguments, *session.posargs)
    session.run("python", "-m", "pytest", "-n", "auto", *options, env=environment or {"NURSELOG_TEST_SCALE": "100"})


@nox.session(python=False)
def gates(session: nox.Session) -> None:
    """Format, lint, types and tests with every branch covered: what a change must pass.

    Where PostgreSQL is installed, its store's tests run on that, too: most likely it is an older one than the wheel's.
    """

    def gate(*command: str, **environment: str) -> None:
        session.run(sys.executable, "-m", *command, env=GATE | environment)

    gate("ruff", "format", "--check")
    gate("ruff", "check")
    gate("mypy")
    gate("pyright")
    gate("pyright", "--verifytypes", "nurselog", "--ignoreexternal")
    gate("coverage", "erase")
    gate("coverage", "run", "-m", "pytest", "-n", "auto", *session.posargs)
    gate("coverage", "combine", "--quiet")
    gate("coverage", "report")
    for folder in [] if session.posargs else servers():
        gate("pytest", "-n", "auto", "-k", "postgres", "tests/stores", NURSELOG_TEST_POSTGRES_BIN=str(folder))


@nox.session(python=[version for version in PYTHONS if runs_here(version)])
def tests(session: nox.Session) -> None:
    """Run the tests on each Python that is installed here."""
    session.install("-e", ".[test]")
    pytest(session)


@nox.session(name="lowest")
def lowest_versions(session: nox.Session) -> None:
    """Run the tests with the lowest versions of Trio, AnyIO and msgspec that are admitted."""
    session.install("-e", ".[test]", *lowest())
    pytest(session, "--ignore=tests/house")


@nox.session
@nox.parametrize("version", TRIOS)
def trio(session: nox.Session, version: str) -> None:
    """Run the tests on one minor version of Trio: nurselog leans on how Trio runs its tasks."""
    session.install("-e", ".[test]", f"trio=={version}.*")
    pytest(session, "--ignore=tests/house")


@nox.session
@nox.parametrize("version", PSYCOPGS)
def psycopg(session: nox.Session, version: str) -> None:
    """Run the PostgreSQL store's tests on one version of psycopg: the driver leans on how it is made inside."""
    session.install("-e", ".[test]", f"psycopg[binary]=={version}")
    pytest(session, "tests/stores")


@nox.session
def long(session: nox.Session) -> None:
    """Run the generated programs and the kills a hundred times as often as `gates` does."""
    session.install("-e", ".[test]")
    pytest_at_length(session)


@nox.session
def product(session: nox.Session) -> None:
    """Try the laws on all workflows, at every event, on every store; `gates` tries a sample."""
    session.install("-e", ".[test]")
    pytest_at_length(session, "tests/laws/test_laws_stores.py")


@nox.session
def transactions(session: nox.Session) -> None:
    """Kill processes at every statement of transactions, and money movers at random, on every database."""
    session.install("-e", ".[test]")
    pytest_at_length(session, "tests/transactions")


@nox.session
def ring(session: nox.Session) -> None:
    """Pass tokens round a hundred workflows for 10,000 rounds, in processes that are killed: about an hour."""
    session.install("-e", ".[test]")
    pytest_at_length(session, "tests/kills/test_ring.py", NURSELOG_RING="10000")


@nox.session
def hosts(session: nox.Session) -> None:
    """Kill a web server under a thousand requests, and measure what a request and an import take."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "tests/hosts", *session.posargs, env={"NURSELOG_ORDERS": "1000"})
    session.run("python", "-m", "tests.benchmarks.web")
    session.run("python", "-m", "tests.benchmarks.imports")


@nox.session
def simulation(session: nox.Session) -> None:
    """Simulate engines that crash, stop and lose commits; `-- --minutes 60` says how long."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.simulation", *session.posargs)


@nox.session
def mutations(session: nox.Session) -> None:
    """Plant bugs in the engine, one at a time, and see that tests find each; arguments after `--` go to the program."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.mutations", *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Measure nurselog beside raw SQLite, raw psycopg and DBOS; arguments after `--` go to the program."""
    session.install(".[test]", "dbos==3.4.0")
    session.run("python", "-m", "tests.benchmarks", *session.posargs)
