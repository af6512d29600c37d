"""`nas explain`: what one candidate is, what it costs, and what is known of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas import networks, spaces, storage, training
from nas.cli.common import Json, Notation, Size, emit, emit_json, note, parse_size, print_table
from nas.cli.inputs import write_whole
from nas.errors import NasError

if TYPE_CHECKING:
    import pandas as pd

    from nas.spaces import Candidate


def explain(
    candidate: Notation,
    input_size: Size = "256x128",
    db: Annotated[str | None, typer.Option("--db", metavar="URL", help="Database with results of it.")] = None,
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
    blocks, cost = _blocks(network, size), _cost(network, size)
    insertion = networks.check_insertion(network, size)
    results = [] if db is None else _known(network, db)
    if json:
        about = {"candidate": network.notation, "id": network.id, "input": list(size), "blocks": blocks, "cost": cost}
        changed = {"difference": insertion.difference, "largest": insertion.largest}
        emit_json({**about, "insertion": changed, "results": results})
        return
    emit(f"{network.notation}  (id {network.id})")
    if blocks:
        placed = [(b["site"], b["shape"], b["block"], "yes" if b["identity"] else "no") for b in blocks]
        print_table(("site", "CxHxW", "block", "starts as the identity"), placed)
    costs = [(c["what"], f"{c['network']:,}", f"{c['blocks']:,}") for c in cost]
    print_table(("cost", "network", "of which blocks"), costs, f"One image of {size[0]}x{size[1]}")
    if blocks:
        emit(f"at insertion: {insertion.sentence()}")
    if results:
        print_table(("study", "stage", "fidelity", "split", "trainings", "mAP", "ms"), [_row(r) for r in results])


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


def _blocks(network: Candidate, size: tuple[int, int]) -> list[dict[str, object]]:
    """Each block with the map it works on."""
    sites = networks.survey(network.backbone, network.backbone_params, size).sites
    return [
        {
            "site": placement.site,
            "block": spaces.format_block(placement.block, placement.params),
            "shape": str(sites[placement.site - 1].shape),
            "identity": placement.is_identity,
        }
        for placement in network.placements
    ]


def _cost(network: Candidate, size: tuple[int, int]) -> list[dict[str, object]]:
    whole, plain = networks.complexity(network, size), networks.complexity(network.baseline, size)
    names = {"params": "parameters", "macs": "MACs", "activation_elements": "activations"}
    return [
        {"what": words, "network": getattr(whole, name), "blocks": getattr(whole, name) - getattr(plain, name)}
        for name, words in names.items()
    ]


def _known(network: Candidate, url: str) -> list[dict[str, object]]:
    """mAP and latency by study, stage and fidelity."""
    with storage.open_database(url, create=False, read_only=True) as database:
        repository = storage.Repository(database)
        tables = [repository.results(study.name) for study in repository.studies()]
    found = [table[(table["notation"] == network.notation) & (table["status"] == "finished")] for table in tables]
    return [row for table in found for row in _levels(table)]


def _levels(rows: pd.DataFrame) -> list[dict[str, object]]:
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


def _row(result: dict[str, object]) -> tuple[object, ...]:
    named = (result[key] for key in ("study", "stage", "fidelity", "split", "trainings"))
    ms = result["latency_ms"]
    return (*named, f"{result['map']:.4f}", "" if ms is None else f"{ms:.2f}")
