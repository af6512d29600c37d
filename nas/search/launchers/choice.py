"""Which launcher a study's workers start through, and which ones work on this machine."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from nas.errors import StudyError, unknown_name
from nas.search.context import cache_folder, training_device, worker_devices
from nas.search.definition import StudyDefinition
from nas.search.launchers.base import IDLE_S, Launcher, WorkerTask
from nas.search.launchers.local import LocalLauncher
from nas.search.launchers.settings import LAUNCHERS, LauncherSettings, merged
from nas.storage.urls import START_POSTGRESQL, parse_url

if TYPE_CHECKING:
    from types import ModuleType

ENGINES = {"slurm": "submitit", "ray": "ray"}


def launcher_for(
    definition: StudyDefinition,
    url: str,
    *,
    on: str | None = None,
    workers: int | None = None,
    device: str | None = None,
    tell: Callable[[str], None] = print,
) -> Callable[[WorkerTask], Launcher]:
    """What makes the launcher that `--on`, the study or the user-wide file names; it is checked at once.

    Args:
        definition: the study.
        url: its database.
        on: local, slurm, ray or the address of a Ray cluster; None: as the files say.
        workers: workers at most; None: as the files say.
        device: devices of this machine that its workers take in turn: cpu, cuda:1, or cuda:0,cuda:2.
        tell: told what a person should know meanwhile.

    Raises:
        StudyError: the engine is not there, refuses, or cannot be used with this database.
    """
    settings = merged(definition.launcher, on)
    kind = "ray" if settings.on.startswith("ray://") else settings.on
    if kind not in LAUNCHERS:
        raise StudyError("--on: " + unknown_name("launcher", settings.on, LAUNCHERS), "or ray://HOST:PORT")
    logs = cache_folder() / "logs"
    if kind == "local":
        asked = None if device is None else [training_device(definition, one.strip()) for one in device.split(",")]
        devices = asked or worker_devices(definition)
        share, cards = settings.local.workers_per_device, sum(one.startswith("cuda") for one in devices)
        count = workers or (share * cards if share and cards else definition.workers)
        return lambda task: LocalLauncher(task, count, logs, devices)
    if device is not None:
        raise StudyError(f"--device chooses devices of this machine, not of {kind}", f"see launcher: {kind}")
    _refuse_sqlite(url, kind, settings)
    module = _engine(kind)
    limits = {} if workers is None else {"max_workers": workers}
    if kind == "slurm":
        module.require_slurm()
        jobs, folder = settings.slurm.model_copy(update=limits), cache_folder() / "slurm" / definition.name
        return lambda task: cast(Launcher, module.SlurmLauncher(replace(task, idle_s=IDLE_S), jobs, folder, tell))
    actors, address = settings.ray.model_copy(update=limits), settings.on if "://" in settings.on else ""
    return lambda task: cast(Launcher, module.RayLauncher(replace(task, idle_s=IDLE_S), actors, logs, address))


def _engine(kind: str) -> ModuleType:
    if importlib.util.find_spec(ENGINES[kind]) is None:
        raise StudyError(f"the launcher {kind} needs {ENGINES[kind]}", f"pip install 'nas-reid[{kind}]'")
    return importlib.import_module(f"nas.search.launchers.{kind}")


def _refuse_sqlite(url: str, kind: str, settings: LauncherSettings) -> None:
    """Workers on other machines need a database that all reach."""
    spans = kind == "slurm" or "://" in settings.on
    if spans and parse_url(url).drivername == "sqlite":
        raise StudyError(
            f"workers through {kind} run on other machines, and {url} is an SQLite file, which serves one",
            START_POSTGRESQL,
        )


def launchers_here() -> dict[str, str | None]:
    """Why a launcher cannot be used on this machine; None for those that can."""
    found: dict[str, str | None] = {"local": None}
    for kind, package in ENGINES.items():
        if importlib.util.find_spec(package) is None:
            found[kind] = f"{package} is not installed: pip install 'nas-reid[{kind}]'"
        else:
            found[kind] = importlib.import_module(f"nas.search.launchers.{kind}").why_not()
    return found
