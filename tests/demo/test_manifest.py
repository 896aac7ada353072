"""What is mirrored, and how it is shared out among workflows."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from nurselog.demo import manifest as module
from nurselog.demo.job import File, Layout
from nurselog.demo.manifest import jobs, manifest, standard_library

MIRRORS = {"alder": "http://127.0.0.1:1", "birch": "http://127.0.0.1:2"}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    for name in ["os.py", "json/__init__.py", "json/decoder.py", "site-packages/httpx.py", "lib-dynload/x.so"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_the_manifest_has_all_python_files_but_no_installed_packages(library: Path) -> None:
    files = manifest(library, None, seed=1)
    assert [file.path for file in files] == ["json/__init__.py", "json/decoder.py", "os.py"]
    assert files[2] == File(path="os.py", sha256=hashlib.sha256(b"os.py").hexdigest(), size=5)


def test_a_limited_manifest_is_drawn_by_the_seed() -> None:
    library = standard_library()
    drawn = manifest(library, 20, seed=1)
    assert len(drawn) == 20
    assert drawn == manifest(library, 20, seed=1)
    assert drawn != manifest(library, 20, seed=2)


def test_a_limit_beyond_the_library_changes_nothing(library: Path) -> None:
    assert manifest(library, 99, seed=1) == manifest(library, None, seed=1)


def test_the_standard_library_is_the_one_that_runs() -> None:
    assert Path(hashlib.__file__).parent == standard_library()


def test_each_package_is_a_job_and_the_modules_are_one(library: Path) -> None:
    files = manifest(library, None, seed=1)
    made = jobs(files, MIRRORS, Layout(library))
    assert [(job.name, [file.path for file in job.files]) for job in made] == [
        ("json", ["json/__init__.py", "json/decoder.py"]),
        ("modules", ["os.py"]),
    ]
    assert all(job.mirrors == MIRRORS and job.folder == str(library) for job in made)


def test_a_large_package_is_several_jobs_of_about_the_same_size(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FILES", 2)
    (library / "json" / "encoder.py").touch()
    files = manifest(library, None, seed=1)
    made = jobs(files, MIRRORS, Layout(library))
    assert [(job.name, [file.path for file in job.files]) for job in made] == [
        ("json-1", ["json/__init__.py", "json/encoder.py"]),
        ("json-2", ["json/decoder.py"]),
        ("modules", ["os.py"]),
    ]
