"""`nas latency`: what placements cost on a device - measured, shown, or asked of a device elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nas import commands, latency, reporting, results, spaces, storage
from nas.cli.common import Json, Size, database_option, emit_json, note, parse_size, print_table, progress_bar
from nas.cli.space import Space, find_file, open_space
from nas.errors import LatencyError

if TYPE_CHECKING:
    import pandas as pd

    from nas.files.plain import JsonDict
    from nas.latency.exchange import Returned
    from nas.latency.placement_table import PlacementTable
    from nas.latency.protocol import LatencyProtocol
    from nas.results.additive import Once
    from nas.spaces import Candidate, Finding
    from nas.storage import Database

DEFAULT_DATABASE = "sqlite:///.nas/latency.db"

DatabaseUrl = Annotated[str, database_option(f"Database; default: $NAS_DATABASE, or {DEFAULT_DATABASE}.")]
Backend = Annotated[
    str, typer.Option(help="eager, compile, cuda_graphs, onnxruntime, tensorrt, openvino; auto: cuda_graphs or eager.")
]
Where = Annotated[str, typer.Option("--on", help="Where it runs: cpu, cuda or cuda:N.")]
Precision = Annotated[str, typer.Option(help="fp32, fp16, bf16 or int8 (onnxruntime on a CPU).")]
Batch = Annotated[int, typer.Option(min=1, help="Images a batch.")]
Builds = Annotated[int, typer.Option(min=1, help="Engine builds a network.")]
Batches = Annotated[
    int | None, typer.Option(min=1, help="Batches timed a build; default 1000 on a GPU, by budget on a CPU.")
]
Budget = Annotated[float, typer.Option("--budget", help="Seconds of timing a build on a CPU.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all.")]
Dla = Annotated[int | None, typer.Option(min=0, help="Core of a board's accelerator (TensorRT, fp16).")]
Tf32 = Annotated[bool, typer.Option("--tf32", help="Let an fp32 network use a GPU's TF32 units.")]
Layout = Annotated[
    bool | None, typer.Option("--channels-last/--channels-first", help="Layout in PyTorch; default: last on a GPU.")
]
Opset = Annotated[
    int | None, typer.Option(min=9, help="ONNX operator set of backends that run from a file; default 17.")
]
Reference = Annotated[str, typer.Option(help="Network a placement must not be slower than; 'none' for none.")]
Margin = Annotated[
    float, typer.Option(min=0.0, help="Share of its time up to which two networks count as equally fast.")
]


def profile(
    space: Space,
    db: DatabaseUrl = DEFAULT_DATABASE,
    backend: Backend = "auto",
    on: Where = "cpu",
    precision: Precision = "fp32",
    batch: Batch = 16,
    input_size: Size = "256x128",
    batches: Batches = None,
    budget: Budget = 10.0,
    builds: Builds = 1,
    threads: Threads = None,
    tf32: Tf32 = False,
    dla: Dla = None,
    channels_last: Layout = None,
    opset: Opset = None,
    reference: Reference = "resnet101",
    margin: Margin = 0.01,
    checks: Annotated[int, typer.Option(min=0, help="Placements measured although an equal tensor was.")] = 2,
    several: Annotated[
        int, typer.Option(min=0, help="Random networks with several blocks, to fit and judge the prediction.")
    ] = 0,
    under_load: Annotated[
        Literal["mark", "refuse"], typer.Option(help="When other programs keep the machine busy.")
    ] = "mark",
    json: Json = False,
) -> None:
    """Time the baselines and every distinct placement of a space, in turns with the plain network; run again to resume.

    Example: nas latency profile search_spaces/resnet50_attention.yaml --backend onnxruntime
    """
    settings = {
        "device": on,
        "backend": backend,
        "precision": precision,
        "batch": batch,
        "input": parse_size(input_size),
        "batches": batches,
        "time_budget_s": budget,
        "builds": builds,
        "threads": threads,
        "tf32": tf32 or None,
        "dla": dla,
        "channels_last": channels_last,
        "opset": opset,
    }
    protocol, chosen = commands.protocol_of(None, settings), open_space(space)
    limits = commands.references(reference, chosen.baselines())
    protocol = protocol.of_code(chosen.own_code.union(*(network.own_code for network in limits)))
    planned = latency.plan_profile(chosen, limits, checks, several=several)
    note(f"{len(planned)} networks: {protocol.sentence()}")
    with _open(db, create=True) as database, progress_bar("Measuring") as tell:
        store = latency.RepositoryStore(storage.Repository(database))
        found = latency.profile(
            planned, protocol, store, tell, measure_one=partial(latency.measure, under_load=under_load)
        )
    _tell(found.warnings, {c.notation: why for c, why in found.failures.items()})
    table = latency.PlacementTable(found.records)
    _report(table, found.device, protocol, limits, margin, json=json)


def show(
    db: DatabaseUrl = DEFAULT_DATABASE,
    device: Annotated[str | None, typer.Option(help="Only figures of this device.")] = None,
    protocol: Annotated[str | None, typer.Option(metavar="ID", help="Only figures of this protocol.")] = None,
    reference: Reference = "resnet101",
    margin: Margin = 0.01,
    figure: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Also draw speed a position.")] = None,
    json: Json = False,
) -> None:
    """Print what placements cost, and the rules that follow from it alone; the newest protocol unless one is named.

    Example: nas latency show --figure speed.html
    """
    if figure is not None and figure.suffix != ".html":
        raise LatencyError(f"speed a position is drawn as .html, not {figure.name}", "Give --figure speed.html.")
    with _open(db, create=False) as database:
        repository = storage.Repository(database)
        newest = _newest(repository.latencies(protocol_id=protocol, device=device))
        found = repository.find_latency(newest["architecture_id"], newest["protocol_id"], newest["device"])
        if found is None:
            raise LatencyError("the newest figure was deleted just now", "run the command again")
        how, device = latency.LatencyProtocol.from_record(found.record["protocol"]), str(newest["device"])
        table = latency.PlacementTable(latency.RepositoryStore(repository).find(None, how, device))
    limits = commands.references(reference, list(table.baselines))
    _report(table, device, how, [c for c in limits if c in table.records], margin, json=json)
    if figure is not None:
        _draw(table, how, figure)


def bridge(
    folder: Annotated[
        str, typer.Argument(help="Exchange folder: a path, or an address such as sftp://USER@HOST/PATH.")
    ],
    device: Annotated[str, typer.Option(help="Name of the device in the study.")],
    networks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SPACE|CANDIDATE]...",
            help="To measure besides what waits; with own blocks, a study finds only what was asked with its space.",
        ),
    ] = None,
    db: DatabaseUrl = DEFAULT_DATABASE,
    backend: Backend = "tensorrt",
    on: Where = "cuda",
    precision: Precision = "fp16",
    batch: Batch = 16,
    input_size: Size = "256x128",
    batches: Batches = None,
    budget: Budget = 10.0,
    builds: Builds = 1,
    threads: Threads = None,
    opset: Opset = None,
    reference: Reference = "resnet101",
    retry: Annotated[bool, typer.Option("--retry", help="Let the device try again what it failed at.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Carry what is there now, and end.")] = False,
    poll: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 5.0,
    json: Json = False,
) -> None:
    """Carry jobs for a device into an exchange folder and its results back, until stopped; the folder holds the agent.

    Example: nas latency bridge stick/ resnet50_attention --device xavier --once
    """
    protocol = latency.LatencyProtocol(
        device=on,
        backend=backend,
        precision=precision,
        batch=batch,
        input=parse_size(input_size),
        batches=batches,
        time_budget_s=budget,
        builds=builds,
        threads=threads,
        opset=opset,
    )
    wanted = [candidate for text in networks or [] for candidate in _networks(text, reference)]
    protocol = protocol.of_code(frozenset[str]().union(*(network.own_code for network in wanted)))
    everything = latency.Returned()
    with _open(db, create=bool(wanted)) as database:
        repository = storage.Repository(database)
        carrier = latency.Bridge(repository, folder, device)
        with progress_bar("Exporting", enabled=bool(wanted)) as tell:
            refused = latency.request_jobs(repository, wanted, protocol, device, tell)
        _tell([], {candidate.notation: why for candidate, why in refused.items()})
        if retry:
            note(f"{latency.retry_failed(repository, device)} network(s) wait for {device!r} again")
        before = None
        while True:
            waiting, found = carrier.carry()
            everything.records |= found.records
            everything.failures |= found.failures
            _tell([], {candidate.notation: why for candidate, why in found.failures.items()})
            if (waiting, len(everything.records)) != before:
                before = waiting, len(everything.records)
                note(f"{len(everything.records)} new figure(s); {waiting} network(s) wait in the folder for {device!r}")
            if once:
                break
            time.sleep(poll)
    if json:
        emit_json(_collected(everything))
    _refuse_unusable(found.unusable)


def _refuse_unusable(unusable: list[tuple[str, str]]) -> None:
    if unusable:
        listed = "; ".join(f"{name}: {why}" for name, why in unusable)
        raise LatencyError(
            f"{len(unusable)} file(s) were not taken: {listed}",
            "delete them and run the agent on the device once more; what was measured is not measured again",
        )


# -- inputs


def _networks(text: str, reference: str) -> list[Candidate]:
    """The networks of a space's profile, or one candidate."""
    if not find_file(text, "search_spaces").is_file():
        return [spaces.Candidate.parse(text)]
    space = open_space(text)
    return latency.plan_profile(space, commands.references(reference, space.baselines()))


def _open(url: str, *, create: bool) -> Database:
    if create and url == DEFAULT_DATABASE:
        Path(".nas").mkdir(exist_ok=True)
    return storage.open_database(url, create=create)


def _newest(latencies: pd.DataFrame) -> pd.Series[Any]:
    """The newest measured figure, whose device and protocol are shown; says what else there is."""
    measured = latencies[latencies["measured"].astype(bool)]
    if measured.empty:
        raise LatencyError("no latency is stored there yet", "run: nas latency profile SPACE.yaml")
    newest = measured.iloc[-1]
    stored = Counter(zip(measured["device"], measured["protocol_id"], strict=True))
    for (device, protocol_id), count in stored.items():
        if (device, protocol_id) != (newest["device"], newest["protocol_id"]):
            note(f"also stored: {count} figure(s), --device {device!r} --protocol {protocol_id}")
    return newest


# -- results


def _tell(warnings: list[str], failures: dict[str, str]) -> None:
    for warning in warnings:
        note(f"Warning: {warning}")
    for notation, why in failures.items():
        note(f"Not measured: {notation}: {why}")


def _report(
    table: PlacementTable, device: str, protocol: LatencyProtocol, limits: list[Candidate], margin: float, *, json: bool
) -> None:
    known = [limit for limit in limits if limit in table.records]
    findings = [finding for limit in known for finding in latency.cost_findings(table, limit, margin=margin)]
    if json:
        emit_json(_as_json(table, device, protocol, findings))
        return
    note(f"{device}: {protocol.sentence()}")
    frame = table.to_frame()
    print_table(_HEADINGS, _baseline_rows(frame) + _placement_rows(frame), title="Latency")
    _print_quality(table)
    for finding in findings:
        note(f"Rule: {finding.sentence()}")


_HEADINGS = ("network", "sites", "ms", "batches/s", "added ms", "95 %", "slower %")


def _baseline_rows(frame: pd.DataFrame) -> list[tuple[object, ...]]:
    rows = frame[frame["n_blocks"] != 1]
    return [(r.notation, "", *_figures(r)) for r in rows.itertuples()]


def _placement_rows(frame: pd.DataFrame) -> list[tuple[object, ...]]:
    """One row a block, setting and shape: the sites that share a figure together."""

    rows: list[tuple[object, ...]] = []
    singles = frame[frame["n_blocks"] == 1].copy()
    several = singles["backbone"].nunique() > 1
    singles["source"] = singles["same_as"].where(singles["same_as"].notna(), singles["notation"])
    for source, group in singles.groupby("source", sort=False):
        first = group[group["measured"]].iloc[0]
        placement = spaces.Candidate.parse(str(source)).placements[0]
        name = f"{first['backbone'] if several else ' '} + {spaces.format_block(placement.block, placement.params)}"
        rows.append((name, spaces.compact(group["site"]), *_figures(first)))
    return rows


def _figures(row: Any) -> tuple[str, ...]:
    """Time and speed as they may be compared, and what was added to the baseline, as text."""
    if row.corrected_ms is None or row.corrected_ms != row.corrected_ms:
        return "not known", "", "", "", ""
    own = f"{row.corrected_ms:.2f}", f"{1000.0 / row.corrected_ms:.2f}"
    if row.increment_ms is None or row.increment_ms != row.increment_ms:
        return (*own, "", "", "")
    interval = (
        "not known" if row.low_ms != row.low_ms or row.low_ms is None else f"[{row.low_ms:+.2f}, {row.high_ms:+.2f}]"
    )
    return (*own, f"{row.increment_ms:+.2f}", interval, f"{row.slowdown_percent:+.1f}")


def _print_quality(table: PlacementTable) -> None:
    for candidate in table.records:
        if why := table.times[candidate].why:
            note(f"Time not known: {candidate.notation}: {why}; measure again: nas latency profile")
    pairs = sum(table.times[c].how == "paired" for c in table.records)
    if pairs:
        note(f"{pairs} of {len(table.records)} times are ratios of pairs with a reference, in its milliseconds")
    drifts = [r.drift for c, r in table.records.items() if r.drift is not None and table.times[c].how == "corrected"]
    if drifts:
        note(f"Times are corrected for drift of the machine, {min(drifts):+.1%} to {max(drifts):+.1%}")
    for check in table.checks():
        note(f"Equal tensors: {check.candidate.notation} {check.percent:+.2f} % against {check.same_as.notation}")
    _print_builds(table)
    titles: dict[Once, str] = {"none": "baseline + increments", "network": "with a cost once a network"}
    for once, title in titles.items():
        error = results.cross_validate(table.rows(), once)
        if error is not None:
            note(
                f"Prediction, {title}: mean error {error.mean_percent:.2f} %, worst {error.worst_percent:.2f} %, "
                f"bias {error.bias_percent:+.2f} % on {error.networks} networks left out in turn; "
                f"residuals {table.model(once).residual_sd_ms:.3f} ms"
            )


def _print_builds(table: PlacementTable) -> None:
    """How much builds of one network differ, where networks were built several times."""
    records = table.records.values()
    noise = [100.0 * sd / r.median_ms for r in records if (sd := r.build_sd_ms) is not None]
    if noise:
        note(f"Builds of one network differ by {median(noise):.2f} % (sd, median of {len(noise)} networks)")


def _as_json(table: PlacementTable, device: str, protocol: LatencyProtocol, findings: list[Finding]) -> JsonDict:
    return {
        "device": device,
        "protocol": protocol.to_dict(),
        "protocol_id": protocol.id,
        "placements": table.to_frame().astype(object).to_dict("records"),
        "checks": [
            {"notation": c.candidate.notation, "same_as": c.same_as.notation, "percent": c.percent}
            for c in table.checks()
        ],
        "rules": [finding.to_dict() for finding in findings],
    }


def _collected(found: Returned) -> JsonDict:
    return {
        "records": {candidate.notation: record.to_dict() for candidate, record in found.records.items()},
        "failures": {candidate.notation: why for candidate, why in found.failures.items()},
    }


def _draw(table: PlacementTable, protocol: LatencyProtocol, path: Path) -> None:
    """Writes the figure of speed a position, one self-contained page; says so when there is nothing to draw."""
    frame = table.to_frame()
    measured = frame[frame["measured"]].copy()
    scale = measured["corrected_ms"].astype(float) / measured["median_ms"]
    for name in ("median_ms", "p5_ms", "p95_ms"):
        measured[name] *= scale
    measured["batches_per_s"] /= scale
    measured["site"] = measured["site"].where(measured["site"] > 0)
    measured["backbone"] = [spaces.Candidate.parse(text).backbone for text in measured["notation"]]
    drawing = reporting.SpeedByPosition()(
        reporting.StudyData("latency", latencies=measured, protocol=protocol.to_dict())
    )
    if isinstance(drawing, str):
        note(drawing)
        return
    config = {"displaylogo": False, "modeBarButtonsToRemove": ["sendChartToCloud"]}
    drawing.write_html(path, config=config, include_plotlyjs=True)
    note(f"figure: {path}")
