"""The diagnostics bundle: what is in it, and what must not be."""

from __future__ import annotations

import io
import json
import zipfile

from fake_backend import Act
from scripted_core import ScriptedCore

KEY = "sk-Quarterdeck-12345678abcdef"


def bundle(core: ScriptedCore) -> zipfile.ZipFile:
    answer = core.http.get("/api/diagnostics").raise_for_status()
    assert answer.headers["content-type"] == "application/zip"
    return zipfile.ZipFile(io.BytesIO(answer.content))


def test_the_bundle_tells_what_happened(core: ScriptedCore) -> None:
    name = core.add(load_config={"n_ctx": 4096})
    core.backend.plan[name] = Act.OUT_OF_MEMORY
    core.http.post("/api/orchestrate/load", json={"model_name": name, "force_load": True})
    core.until_settled()
    with bundle(core) as packed:
        attempts = json.loads(packed.read("attempts.json"))
        assert [(each["model_name"], each["failure_class"]) for each in attempts] == [(name, "cuda_oom")]
        assert json.loads(packed.read("problems.json"))[0]["subject"] == f"model:{name}"
        assert json.loads(packed.read("version.json"))["quarterdeck"]
        assert {"models.json", "settings.json", "hardware.json", "backends.json", "logs/embedded.log"} <= set(
            packed.namelist()
        )


def test_no_secret_is_in_the_bundle(core: ScriptedCore) -> None:
    made = core.http.post("/api/keys", json={"name": "somebody"}).raise_for_status().json()["key"]
    core.core.logs["embedded"].add([f"Authorization: Bearer {KEY}", f"api_key={KEY}", "http://me:hunter22@host/v1"])
    core.http.post("/v1/chat/completions", json={"model": f"with {KEY}", "messages": []}, headers={"x": "y"})
    with bundle(core) as packed:
        everything = "\n".join(packed.read(name).decode() for name in packed.namelist())
    for secret in (KEY, made, "hunter22", core.core.token):
        assert secret not in everything
    assert "Authorization: Bearer" in everything


def test_a_failed_load_remembers_how_the_machine_was(core: ScriptedCore) -> None:
    holder, name = core.add(), core.add()
    core.http.patch(f"/api/models/{holder}/config", json={"pinned": True, "group": "a"}).raise_for_status()
    core.http.post("/api/orchestrate/load", json={"model_name": holder}).raise_for_status()
    core.http.patch(f"/api/models/{name}/config", json={"group": "a"}).raise_for_status()
    core.backend.plan[name] = Act.OUT_OF_MEMORY
    core.http.post("/api/orchestrate/load", json={"model_name": name, "force_load": True})
    seen = core.http.get(f"/api/models/{name}/attempts").json()[0]["circumstances"]
    assert holder in seen["loaded"]
    assert seen["host_total_bytes"] > seen["host_used_bytes"] > 0
    assert seen["gpu_state"]
    assert seen["versions"]["quarterdeck"]
