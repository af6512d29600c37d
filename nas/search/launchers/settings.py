"""`launcher:` of a study, or of a user-wide file: where workers are started, and with what."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from nas.errors import StudyError
from nas.files.yaml_source import load_yaml, validate

LAUNCHERS = ("local", "slurm", "ray")


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


def minutes(time: int | str) -> int:
    """A time limit as Slurm writes it, in minutes: minutes, `HH:MM:SS` or `D-HH:MM:SS`.

    >>> minutes(90), minutes("12:00:00"), minutes("1-00:30:00")
    (90, 720, 1470)
    """
    days, _, rest = str(time).rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if len(parts) == 1 and not days:
        return parts[0]
    hours, minute, seconds = (*parts, 0, 0)[:3]
    if len(parts) > 3 or min(parts) < 0:
        raise ValueError("a time limit is minutes, HH:MM:SS or D-HH:MM:SS")
    return (int(days or 0) * 24 + hours) * 60 + minute + (seconds > 0)


def _readable(time: int | str) -> int | str:
    if minutes(time) < 1:
        raise ValueError("a time limit is at least one minute")
    return time


class LocalSettings(_Settings):
    """Workers on this machine."""

    workers_per_device: PositiveInt | None = Field(None, description="workers that share a GPU; null: as many as asked")


class SlurmSettings(_Settings):
    """Workers as jobs of a Slurm cluster; what is null is left to the cluster's defaults."""

    partition: str | None = Field(None, description="where jobs go")
    account: str | None = Field(None, description="who pays")
    qos: str | None = Field(None, description="quality of service")
    constraint: str | None = Field(None, description="features of the nodes")
    gpus_per_node: int | None = Field(None, ge=0, description="GPUs a worker")
    gres: str | None = Field(None, description="generic resources a worker, where the site asks for GPUs that way")
    cpus: PositiveInt = Field(1, description="cores a worker")
    mem: str | None = Field(None, description="memory a worker, such as 16G")
    time: Annotated[int | str, AfterValidator(_readable)] = Field(
        720, description="limit of a job: minutes or HH:MM:SS"
    )
    signal_s: PositiveInt = Field(120, description="seconds before the limit at which a worker is told to stop")
    max_workers: PositiveInt = Field(16, description="jobs at most")
    poll_s: PositiveFloat = Field(5.0, description="seconds between two looks at the queue")
    setup: list[str] = Field([], description="shell lines before the worker, such as module load")
    options: dict[str, str | int | bool] = Field({}, description="further options of sbatch, such as {exclude: node7}")


class RaySettings(_Settings):
    """Workers as actors of a Ray cluster."""

    cpus: PositiveFloat = Field(1.0, description="cores a worker")
    gpus: float = Field(0.0, ge=0, description="GPUs a worker; 0.5: two share one")
    resources: dict[str, float] = Field({}, description="further resources a worker")
    max_workers: PositiveInt = Field(16, description="actors at most")


class LauncherSettings(_Settings):
    """Where workers are started, and with what; `--on` overrules `on`."""

    on: str = Field("local", description="local, slurm, ray, or the address of a Ray cluster: ray://HOST:PORT")
    local: LocalSettings = Field(LocalSettings(), description="on this machine")
    slurm: SlurmSettings = Field(SlurmSettings(), description="through Slurm")
    ray: RaySettings = Field(RaySettings(), description="through Ray")


def user_file() -> Path:
    """The user-wide file: `$NAS_LAUNCHER`, else `nas/launcher.yaml` in the user's configuration folder."""
    given = os.environ.get("NAS_LAUNCHER")
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(given) if given else home / "nas" / "launcher.yaml"


def merged(study: LauncherSettings, on: str | None = None) -> LauncherSettings:
    """The study's settings over the user-wide file's, key by key, and `--on` over both.

    Raises:
        StudyError: the file is not valid.
    """
    own = study.model_dump(exclude_unset=True)
    file = user_file()
    if file.exists() or os.environ.get("NAS_LAUNCHER"):
        source = load_yaml(file, StudyError)
        own = _over(validate(LauncherSettings, source, StudyError).model_dump(exclude_unset=True), own)
    return LauncherSettings.model_validate({**own, **({} if on is None else {"on": on})})


def _over(base: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    found = dict(base)
    for key, value in changes.items():
        below = found.get(key)
        found[key] = _over(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return found
