"""What is shipped for containers, as far as it can be checked where none runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from docs_snippets import ROOT, check_command

DEPLOY = ROOT / "deploy"
MANIFESTS: list[dict[str, Any]] = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda m: f"{m['kind']}-{m['metadata']['name']}")
def test_manifests_follow_the_schema_of_kubernetes(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_a_wrong_manifest_is_found() -> None:
    broken = {**MANIFESTS[-1], "spec": {**MANIFESTS[-1]["spec"], "parallelism": "eight"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, kubernetes_validate.latest_version(), strict=True)


def test_containers_run_commands_that_exist() -> None:
    pods = [m["spec"]["template"]["spec"] for m in MANIFESTS if "template" in m["spec"]]
    found = [c["args"] for pod in pods for c in pod["containers"] if "args" in c]
    found += [service["command"] for service in COMPOSE["services"].values() if "command" in service]
    assert len(found) == 4
    for words in found:
        check_command(words)


def test_no_password_is_written_anywhere() -> None:
    for file in DEPLOY.iterdir():
        for address in re.findall(r"postgresql://[^\s@:]*:([^\s@]*)@", file.read_text()):
            assert address in ("SECRET", "...") or address.startswith("${"), file.name


def test_the_dockerfile_copies_what_is_there_and_asks_for_extras_that_exist() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE) for word in line.split()]
    assert copied
    assert not [name for name in copied if not (ROOT / name).exists()]
    (extras,) = re.findall(r"/src\[([\w,]+)\]", text)
    project = (ROOT / "pyproject.toml").read_text()
    assert not [extra for extra in extras.split(",") if not re.search(rf"^{extra} = \[", project, re.MULTILINE)]


def test_what_was_not_run_says_so() -> None:
    for file in DEPLOY.iterdir():
        assert "Not run where nas is tested" in Path(file).read_text()[:300], file.name
