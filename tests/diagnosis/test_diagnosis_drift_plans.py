"""Merging, layering and keeping apart: what would be written, what is written, and the way back."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import pytest
from drift_room import SMALL, UNIFIED, Room

from quarterdeck.diagnosis.drift import applying, compare, git, layers
from quarterdeck.diagnosis.drift.applying import Applier
from quarterdeck.diagnosis.drift.facts import ServedModel
from quarterdeck.diagnosis.drift.fixing import ConfigFixes
from quarterdeck.diagnosis.drift.gateway import read_gateway
from quarterdeck.diagnosis.drift.plans import Plan, Way, plan
from quarterdeck.diagnosis.drift.yaml_file import plain, read
from quarterdeck.errors import AppError
from quarterdeck.schemas.problems import Fix, FixKind
from quarterdeck.schemas.report import FileState

NAMES = {"coder", "llama", "dolphin"}


class Gateway:
    """A gateway that reads its file when it is restarted."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.restarts = 0
        self.refuses: set[str] = set()
        self.offered: list[str] = []

    async def restart(self, _name: str) -> None:
        self.restarts += 1
        names = read_gateway(self.room.small.read_text(encoding="utf-8")).names
        self.offered = [] if self.refuses & set(names) else names
        self.room.change("litellm", models=tuple(map(ServedModel, self.offered)), routes=(),
                         started_at=self.room.small.stat().st_mtime + 1)  # fmt: skip

    async def models(self, name: str) -> Collection[str]:
        if not self.offered:
            raise AppError("down", f"{name} does not answer.")
        return self.offered


@pytest.fixture
def room(tmp_path: Path) -> Room:
    (tmp_path / "config").mkdir()
    return Room(tmp_path / "config")


@pytest.fixture
def gateway(room: Room) -> Gateway:
    return Gateway(room)


@pytest.fixture
def fixes(room: Room, gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConfigFixes:
    monkeypatch.setattr(applying, "TRIES", 2)
    applier = Applier(tmp_path / "backups", restart=gateway.restart, models=gateway.models, pause=0)
    return ConfigFixes(room.files, applier)


async def planned(room: Room, way: Way) -> Plan:
    return plan(way, await room.file(room.small), await room.file(room.unified))


def fix(room: Room, way: Way, *, other: bool = True) -> Fix:
    patch = {"action": way.value, "file": str(room.unified)} if other else {"action": way.value}
    return Fix(id="x", kind=FixKind.CONFIG_FILE, title="Change", target=str(room.small), patch=patch)


def git_fix(path: Path, action: str) -> Fix:
    return Fix(id=action, kind=FixKind.GIT, title=action, target=str(path), patch={"action": action})


async def test_a_merge_keeps_what_is_used_and_its_comments(room: Room) -> None:
    text = (await planned(room, Way.MERGE)).after[room.small]
    root = plain(read(text).root)
    assert set(read_gateway(text).names) == NAMES
    coder = next(each for each in root["model_list"] if each["model_name"] == "coder")
    assert coder["litellm_params"]["timeout"] == 5
    assert root["litellm_settings"] == {"drop_params": True, "num_retries": 2}
    assert root["router_settings"]["fallbacks"] == [{"dolphin": ["llama"]}]
    assert "\n# Only what the terminal client needs\n" in text


async def test_an_overlay_over_its_base_is_what_both_say(room: Room) -> None:
    made = await planned(room, Way.LAYERED)
    overlay = next(text for path, text in made.after.items() if path.name == "litellm_config.overlay.yaml")
    assert [each["model_name"] for each in read(overlay).root["model_list"]] == ["coder"]
    text = made.after[room.small]
    assert set(read_gateway(text).names) == NAMES
    root = plain(read(text).root)
    coder = [each for each in root["model_list"] if each["model_name"] == "coder"]
    assert coder == plain(read(SMALL).root)["model_list"]
    assert root["litellm_settings"] == {"drop_params": True, "num_retries": 2}
    assert layers.made_from(text) is not None
    assert not layers.edited_by_hand(text)
    assert layers.edited_by_hand(text + "extra: 1\n")


async def test_a_preview_shows_lines_and_changes_nothing(room: Room, fixes: ConfigFixes) -> None:
    preview = await fixes.preview(fix(room, Way.MERGE))
    assert any("dolphin" in change.after for change in preview.changes)
    assert "put back" in preview.consequence
    assert room.small.read_text(encoding="utf-8") == SMALL
    patch = (await planned(room, Way.MERGE)).patch()
    assert "+  - model_name: dolphin" in patch
    assert f"--- {room.small} (now)" in patch


@pytest.mark.parametrize("way", [Way.MERGE, Way.LAYERED])
async def test_after_it_everything_is_deployed_and_undo_brings_it_back(
    room: Room, fixes: ConfigFixes, gateway: Gateway, way: Way
) -> None:
    done = await fixes.apply(fix(room, way))
    assert gateway.restarts == 1
    assert set(gateway.offered) == NAMES
    assert FileState.DEPLOYED in (await room.file(room.unified)).states
    assert done.undo is not None
    await fixes.undo(done.undo)
    assert room.small.read_text(encoding="utf-8") == SMALL
    assert not (room.folder / "litellm_config.overlay.yaml").exists()
    assert gateway.offered == ["coder"]


async def test_a_change_after_a_merge_is_drift_again(room: Room, fixes: ConfigFixes) -> None:
    await fixes.apply(fix(room, Way.MERGE))
    room.unified.write_text(UNIFIED + "# more\n", encoding="utf-8")
    assert FileState.NOT_DEPLOYED in (await room.file(room.unified)).states
    await fixes.apply(fix(room, Way.MERGE))
    text = room.small.read_text(encoding="utf-8")
    assert text.count("merged from") == 1
    assert text.count("model_name: dolphin") == 1


async def test_a_gateway_that_does_not_come_back_gets_its_files_back(
    room: Room, fixes: ConfigFixes, gateway: Gateway
) -> None:
    gateway.refuses = {"dolphin"}
    with pytest.raises(AppError) as caught:
        await fixes.apply(fix(room, Way.LAYERED))
    assert caught.value.code == "rolled_back"
    assert room.small.read_text(encoding="utf-8") == SMALL
    assert not (room.folder / "litellm_config.overlay.yaml").exists()
    assert gateway.offered == ["coder"]


async def test_kept_apart_on_purpose_is_no_problem_any_more(room: Room, fixes: ConfigFixes, gateway: Gateway) -> None:
    os.utime(room.small, (1000, 1000))
    room.change("litellm", started_at=2000.0)
    done = await fixes.apply(fix(room, Way.SEPARATE))
    assert gateway.restarts == 0
    assert compare.differences(room.facts, await room.files()) == []
    assert str(room.small) in layers.separate_from(room.unified.read_text(encoding="utf-8"))
    assert plain(read(room.unified.read_text(encoding="utf-8")).root) == plain(read(UNIFIED).root)
    with pytest.raises(AppError) as caught:
        await fixes.preview(fix(room, Way.SEPARATE))
    assert caught.value.code == "nothing_to_do"
    assert done.undo is not None
    await fixes.undo(done.undo)
    assert [each.what for each in compare.differences(room.facts, await room.files())] == [compare.DEPLOYED]


async def test_a_base_that_changes_makes_the_file_stale_until_it_is_made_again(room: Room, fixes: ConfigFixes) -> None:
    await fixes.apply(fix(room, Way.LAYERED))
    assert FileState.STALE not in (await room.file(room.small)).states
    room.unified.write_text(UNIFIED.replace("num_retries: 2", "num_retries: 5"), encoding="utf-8")
    assert FileState.STALE in (await room.file(room.small)).states
    await fixes.apply(fix(room, Way.MAKE_AGAIN, other=False))
    assert "num_retries: 5" in room.small.read_text(encoding="utf-8")
    assert FileState.STALE not in (await room.file(room.small)).states


async def test_a_file_that_changed_after_the_look_is_not_overwritten(
    room: Room, gateway: Gateway, tmp_path: Path
) -> None:
    made = await planned(room, Way.MERGE)
    room.small.write_text(SMALL + "# mine\n", encoding="utf-8")
    applier = Applier(tmp_path / "backups", restart=gateway.restart, models=gateway.models, pause=0)
    with pytest.raises(AppError) as caught:
        await applier.apply(made)
    assert caught.value.code == "file_changed"
    assert room.small.read_text(encoding="utf-8").endswith("# mine\n")


async def test_a_result_with_a_new_fault_is_refused(room: Room, fixes: ConfigFixes) -> None:
    room.unified.write_text(UNIFIED.replace("[llama]", "[nobody]"), encoding="utf-8")
    with pytest.raises(AppError) as caught:
        await fixes.preview(fix(room, Way.MERGE))
    assert caught.value.code == "still_faulty"


async def test_only_the_newest_copies_are_kept(room: Room, gateway: Gateway, tmp_path: Path) -> None:
    applier = Applier(tmp_path / "backups", restart=gateway.restart, models=gateway.models, pause=0)
    for number in range(applying.KEPT_BACKUPS + 3):
        text = room.small.read_text(encoding="utf-8")
        await applier.apply(Plan("x", {room.small: text}, {room.small: f"# {number}\n"}))
    assert len(list((tmp_path / "backups").iterdir())) == applying.KEPT_BACKUPS


async def test_writing_keeps_links_and_permissions(room: Room) -> None:
    link = room.folder / "link.yaml"
    link.symlink_to(room.small)
    os.chmod(room.small, 0o600)  # noqa: PTH101 - as a person would
    applying.write(link, "a: 1\n")
    assert link.is_symlink()
    assert room.small.read_text(encoding="utf-8") == "a: 1\n"
    assert room.small.stat().st_mode & 0o777 == 0o600


async def test_commit_takes_this_file_alone(room: Room, fixes: ConfigFixes) -> None:
    room.unified.write_text(UNIFIED + "# new\n", encoding="utf-8")
    room.small.write_text(SMALL + "# other\n", encoding="utf-8")
    assert (await fixes.preview(git_fix(room.unified, "commit"))).changes[0].after == "# new"
    await fixes.apply(git_fix(room.unified, "commit"))
    assert (await git.state_of(room.unified)).state is git.GitState.CLEAN
    assert (await git.state_of(room.small)).state is git.GitState.MODIFIED


@pytest.mark.parametrize("action", ["revert", "stash"])
async def test_going_back_can_be_taken_back(room: Room, fixes: ConfigFixes, action: str) -> None:
    changed = UNIFIED + "# new\n"
    room.unified.write_text(changed, encoding="utf-8")
    done = await fixes.apply(git_fix(room.unified, action))
    assert room.unified.read_text(encoding="utf-8") == UNIFIED
    assert done.undo is not None
    await fixes.undo(done.undo)
    assert room.unified.read_text(encoding="utf-8") == changed


async def test_outside_of_a_repository_git_says_nothing(tmp_path: Path) -> None:
    alone = tmp_path / "alone.yaml"
    alone.write_text("a: 1\n", encoding="utf-8")
    assert (await git.state_of(alone)).state is git.GitState.NONE
    with pytest.raises(AppError) as caught:
        await git.commit([alone])
    assert caught.value.code == "no_repository"
