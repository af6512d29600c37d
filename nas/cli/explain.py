"""`nas explain`: what one candidate is, what it costs, and what is known of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas import networks, spaces, storage, training
from nas.cli.common import Json, emit, emit_json, note, parse_size, print_table
from nas.cli.db import Url
from nas.cli.inputs import write_whole
from nas.errors import NasError

if TYPE_CHECKING:
    import pandas as pd

    from nas.spaces import Candidate


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("explain")(explain)


def explain(
    candidate: Annotated[str, typer.Argument(metavar="CANDIDATE", help="A network, such as resnet50+cnl@6,8,14.")],
    input_size: Annotated[str, typer.Option("--input", metavar="HxW", help="Height x width in pixels.")] = "256x128",
    db: Url = None,
    maps: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draw where a trained network looks: Grad-CAM, and its blocks.")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(metavar="FILE", help="The trained network behind --maps.")] = None,
    image: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="An image for --maps; several times.")
    ] = None,
    json: Json = False,
) -> None:
    """Say what a network is: its blocks, what they cost, what they change when put in, and results in a database.

    Example: nas explain "resnet50(width=0.25)+se(start=identity)@4" --input 64x32 --db sqlite:///quickstart.db
    """
    network, size = spaces.Candidate.parse(candidate), parse_size(input_size)
    if maps is not None:
        _draw_maps(network, maps, checkpoint, image or [])
    details: dict[str, Any] = {"candidate": network.notation, "id": network.id, "input": list(size)}
    details |= {"blocks": _blocks(network, size), "cost": _cost(network, size)}
    insertion = networks.check_insertion(network, size)
    details["insertion"] = {"difference": insertion.difference, "largest": insertion.largest}
    details["results"] = [] if db is None else _known(network, db)
    if json:
        emit_json(details)
        return
    _tell(details, insertion.sentence())


def _draw_maps(network: Candidate, maps: Path, checkpoint: Path | None, images: list[Path]) -> None:
    """Writes the picture; the checkpoint must be of this network."""
    if checkpoint is None or not images:
        raise NasError("--maps draws a trained network on images", "Give --checkpoint last.pt --image a.jpg.")
    if maps.suffix != ".png":
        raise NasError(f"maps are drawn as .png, not {maps.name}", "Give --maps maps.png.")
    trained = training.load_checkpoint(checkpoint).candidate.architecture
    if trained != network.architecture:
        raise NasError(f"{checkpoint} holds {trained}, not {network}", "Name the network that was trained.")
    picture = training.draw_maps(checkpoint, images)
    write_whole(maps, lambda file: picture.save(file, format="PNG"))
    note(f"maps: {maps}")


def _blocks(network: Candidate, size: tuple[int, int]) -> list[dict[str, Any]]:
    """Each block with the map it works on."""
    sites = networks.survey(network.backbone, network.backbone_params, size).sites
    return [
        {
            "site": placement.site,
            "block": spaces.format_block(placement.block, placement.params),
            "shape": str(sites[placement.site - 1].shape),
            "identity": spaces.get_block_spec(placement.block).is_identity(dict(placement.params)),
        }
        for placement in network.placements
    ]


def _cost(network: Candidate, size: tuple[int, int]) -> list[dict[str, Any]]:
    whole, plain = networks.complexity(network, size), networks.complexity(network.baseline, size)
    names = {"params": "parameters", "macs": "MACs", "activation_elements": "activations"}
    return [
        {"what": words, "network": getattr(whole, name), "blocks": getattr(whole, name) - getattr(plain, name)}
        for name, words in names.items()
    ]


def _known(network: Candidate, url: str) -> list[dict[str, Any]]:
    """mAP and latency by study, stage and fidelity."""
    with storage.open_database(url, create=False, read_only=True) as database:
        repository = storage.Repository(database)
        tables = [repository.results(study.name) for study in repository.studies()]
    found = [table[(table["notation"] == network.notation) & (table["status"] == "finished")] for table in tables]
    return [row for table in found for row in _levels(table)]


def _levels(rows: pd.DataFrame) -> list[dict[str, Any]]:
    keys = ["study", "stage", "fidelity", "split"]
    return [
        dict(zip(keys, map(str, level), strict=True))
        | {
            "trainings": int(group["training_id"].nunique()),
            "map": float(group["map"].mean()),
            "latency_ms": None if group["latency_ms"].isna().all() else float(group["latency_ms"].mean()),
        }
        for level, group in rows.groupby(keys, sort=False)
    ]


def _tell(details: dict[str, Any], insertion: str) -> None:
    emit(f"{details['candidate']}  (id {details['id']})")
    if details["blocks"]:
        placed = [(b["site"], b["shape"], b["block"], "yes" if b["identity"] else "no") for b in details["blocks"]]
        print_table(("site", "CxHxW", "block", "starts as the identity"), placed)
    size = "x".join(map(str, details["input"]))
    costs = [(c["what"], f"{c['network']:,}", f"{c['blocks']:,}") for c in details["cost"]]
    print_table(("cost", "network", "of which blocks"), costs, f"One image of {size}")
    if details["blocks"]:
        emit(f"at insertion: {insertion}")
    if details["results"]:
        known = [
            (r["study"], r["stage"], r["fidelity"], r["split"], r["trainings"], f"{r['map']:.4f}", _ms(r["latency_ms"]))
            for r in details["results"]
        ]
        print_table(("study", "stage", "fidelity", "split", "trainings", "mAP", "ms"), known)


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
