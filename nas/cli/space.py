"""`nas space`: look at a design space - its sites and rules, its size, draws from it, why a candidate is outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas import networks, project, spaces
from nas.cli.common import Json, Notation, emit, emit_json, note, parse_size, print_table
from nas.errors import SpaceError, closest
from nas.files.yaml_source import FILE_ENDINGS

if TYPE_CHECKING:
    from nas.spaces import Candidate, DesignSpace, Topology

Space = Annotated[str, typer.Argument(metavar="SPACE", help="Space file, or the name of a shipped one.")]
Blocks = Annotated[int | None, typer.Option("--blocks", min=0, help="Only candidates with so many blocks.")]


def show(
    space: Space,
    height: Annotated[int, typer.Option(min=1, help="Height of the input in pixels.")] = 256,
    width: Annotated[int, typer.Option(min=1, help="Width of the input in pixels.")] = 128,
    json: Json = False,
) -> None:
    """Show sites, blocks, rules and sizes of a space.

    Example: nas space show search_spaces/resnet50_attention.yaml
    """
    found = open_space(space)
    if json:
        emit_json(_summary(found, height, width))
        return
    emit(_heading(found))
    for topology, factor in _topologies(found):
        rows = list(_site_rows(found, topology, factor, height, width))
        print_table(("site", "after", "stage", "place", f"shape at {height}x{width}", "stage end", "blocks"), rows)
        emit("")
    emit("Blocks")
    for name, domain in found.blocks.items():
        emit(f"  {_block_line(name, domain, len(found.definition.forms(name)))}")
    if found.recipe:
        emit("Recipe")
        for key, values in found.recipe.items():
            emit(f"  {key}: {values.sentence()}")
    emit("Rules")
    emit("\n".join(f"  {rule.sentence()}" for rule in found.rules) or "  none")
    emit(_size_lines(found))


def sites(
    backbone: Annotated[str, typer.Argument(metavar="BACKBONE", help="resnet50, timm:NAME, or module:Class.")],
    input_size: Annotated[str, typer.Option("--size", metavar="HxW", help="Height x width in pixels.")] = "256x128",
    json: Json = False,
) -> None:
    """Show where blocks may stand in a backbone, as a table and drawn stage by stage.

    Example: nas space sites "resnet50(last_stride=2)" --size 384x128
    """
    network, pixels = spaces.Candidate.parse(backbone), parse_size(input_size)
    if network != network.baseline:
        raise SpaceError(f"{network} is a candidate; its backbone is {network.baseline}")
    found = networks.survey(network.backbone, network.backbone_params, pixels).sites
    rows = [
        {
            "site": site.number,
            "after": site.path,
            "stage": site.stage,
            "place": site.place,
            "stage_length": site.stage_length,
            "channels": site.shape.channels,
            "height": site.shape.height,
            "width": site.shape.width,
            "stride": round(pixels[0] / site.shape.height),
        }
        for site in found
    ]
    if json:
        emit_json({"backbone": str(network), "size": list(pixels), "sites": rows})
        return
    shown = [
        (r["site"], r["after"], r["stage"], f"{r['place']}/{r['stage_length']}", str(s.shape), r["stride"])
        for r, s in zip(rows, found, strict=True)
    ]
    print_table(("site", "after", "stage", "place", "CxHxW", "stride"), shown, f"{network} at {input_size}")
    emit("")
    for stage in dict.fromkeys(site.stage for site in found):
        of = [site for site in found if site.stage == stage]
        emit(
            f"{'stem' if stage == 0 else f'stage {stage}':8} {of[-1].shape!s:>14}  "
            + "".join(f"-[{s.number}]" for s in of)
        )


def size(space: Space, json: Json = False) -> None:
    """Count the candidates of a space exactly, by number of blocks.

    Example: nas space size resnet50_attention
    """
    found = open_space(space)
    if json:
        emit_json(_sizes(found))
    else:
        emit(_size_lines(found))


def sample(
    space: Space,
    n: Annotated[int, typer.Option("-n", "--number", min=1, help="Number of candidates.")] = 10,
    seed: Annotated[int, typer.Option(help="Same seed, same candidates.")] = 0,
    blocks: Blocks = None,
    stratified: Annotated[bool, typer.Option("--stratified", help="As many for each number of blocks.")] = False,
    json: Json = False,
) -> None:
    """Draw distinct candidates, exactly uniformly, one a line.

    Example: nas space sample resnet50_attention -n 5 --blocks 2
    """
    found = open_space(space)
    if stratified:
        drawn = found.stratified(n, seed, None if blocks is None else [blocks])
    else:
        drawn = found.sample(n, seed, blocks)
    _print_candidates(drawn, json)


def validate(
    space: Space,
    candidate: Annotated[str | None, typer.Argument(metavar="[CANDIDATE]", help="A candidate to check.")] = None,
    json: Json = False,
) -> None:
    """Check a space file, or that a candidate is in the space; exit code 2 when not.

    Example: nas space validate my_space.yaml
    """
    found = open_space(space)
    reasons = [violation.message for violation in found.explain(candidate)] if candidate else []
    if reasons:
        raise SpaceError(f"{candidate} is not in the space {found.name!r}: {'; '.join(reasons)}")
    odd = spaces.contradictions(found.definition, found.rules)
    if json:
        rows = [{"sentence": row.sentence, "rules": [str(rule) for rule in row.rules]} for row in odd]
        emit_json({"name": found.name, "id": found.id, "valid": True, "candidate": candidate, "contradictions": rows})
        return
    for row in odd:
        note(f"Note: {row.sentence}: {'; '.join(str(rule) for rule in row.rules)}")
    what = f"{candidate} is in the space {found.name!r}" if candidate else f"{found.name!r} is a valid design space"
    emit(f"{what} ({found.size():,} candidates)")


def explain(space: Space, candidate: Notation, json: Json = False) -> None:
    """Say whether a candidate is in a space, and if not, why and what the nearest one inside is.

    Example: nas space explain resnet50_attention resnet50+agw@3,4
    """
    found = open_space(space)
    wanted = spaces.Candidate.parse(candidate)
    violations = found.explain(wanted)
    nearest = found.repair(wanted)
    if json:
        rows = [violation.to_dict() for violation in violations]
        emit_json({"candidate": str(wanted), "inside": not rows, "violations": rows, "nearest": str(nearest)})
        return
    if not violations:
        emit(f"{wanted} is inside")
        return
    emit(f"{wanted} is outside:")
    for violation in violations:
        emit(f"  {violation.path}: {violation.message}")
    emit(f"The nearest inside: {nearest}")


def schema() -> None:
    """Print the JSON schema of a space file, for editors.

    Example: nas space schema > space.schema.json
    """
    emit_json(spaces.DesignSpace.json_schema())


def find_file(name: str, folder: str) -> Path:
    """A file as the user named it: a path, or the name of a file in the project's or the shipped folder."""
    if Path(name).suffix in (*FILE_ENDINGS, ".json") or "/" in name:
        return Path(name)
    for place in (Path(folder), project.shipped(folder)):
        if (place / f"{name}.yaml").is_file():
            return place / f"{name}.yaml"
    return Path(name)


def open_space(name: str) -> spaces.DesignSpace:
    """The space of a file, or of a shipped name."""
    path = find_file(name, "search_spaces")
    if not path.exists():
        known = sorted(file.stem for file in project.shipped("search_spaces").glob("*.yaml"))
        guess = closest(Path(name).stem, known)
        meant = f" Did you mean {guess}?" if guess else ""
        raise SpaceError(f"there is no design space {name}.{meant}", f"Give a file, or one of: {', '.join(known)}.")
    return spaces.DesignSpace.from_yaml(path)


def _heading(space: DesignSpace) -> str:
    lines = [f"{space.name} ({space.id})", *([space.description] if space.description else [])]
    if space.parent:
        lines.append(f"Cut from {space.parent.name} ({space.parent.id}, {space.parent.size:,} candidates) by:")
        lines += [f"  {rule.sentence()}" for rule in space.parent.rules]
    return "\n".join(lines) + "\n"


def _topologies(space: DesignSpace) -> Iterator[tuple[Topology, float]]:
    """Each backbone's sites, with the factor of its channels."""
    for arm in space.arms:
        params = dict(arm.params)
        yield spaces.get_topology(arm.backbone, int(params["last_stride"])), float(params["width"])


def _site_rows(
    space: DesignSpace, topology: Topology, factor: float, height: int, width: int
) -> Iterator[tuple[object, ...]]:
    options = space.options(topology.backbone)
    for site in topology.sites:
        channels, h, w = site.shape(height, width)
        blocks = list(dict.fromkeys(placement.block for placement in options.get(site.number, ())))
        shape = f"{round(channels * factor)} x {h} x {w}"
        place = f"{site.place}/{site.stage_length}"
        end = "end" if site.is_stage_end else ""
        yield site.number, site.after, site.stage, place, shape, end, ", ".join(blocks) or "-"


def _block_line(name: str, domain: spaces.BlockDomain, variants: int) -> str:
    values = [f"{key}: {', '.join(map(spaces.format_value, choices))}" for key, choices in domain.params]
    values += [f"{key} = {derived.text}" for key, derived in domain.derived]
    return f"{name}: {'; '.join(values) or 'defaults'} ({variants} variant{'s' * (variants != 1)})"


def _size_lines(space: DesignSpace) -> str:
    lines = ["Candidates"]
    lines += [f"  with {number} block{'s' * (number != 1)}: {n:,}" for number, n in space.size_by_blocks().items()]
    lines.append(f"  in all: {space.size():,}")
    if space.continuous:
        lines.append(f"  not counted, drawn from an interval: {', '.join(space.continuous)}")
    return "\n".join(lines)


def _sizes(space: DesignSpace) -> dict[str, object]:
    by_blocks = {str(number): size for number, size in space.size_by_blocks().items()}
    return {
        "name": space.name,
        "id": space.id,
        "size": space.size(),
        "by_blocks": by_blocks,
        "continuous": list(space.continuous),
    }


def _summary(space: DesignSpace, height: int, width: int) -> dict[str, object]:
    keys = ("site", "after", "stage", "place", "shape", "stage_end", "blocks")
    sites = {
        str(arm.baseline): [
            dict(zip(keys, row, strict=True)) for row in _site_rows(space, topology, factor, height, width)
        ]
        for arm, (topology, factor) in zip(space.arms, _topologies(space), strict=True)
    }
    rules = [{"sentence": rule.sentence(), **rule.to_dict()} for rule in space.rules]
    return {**_sizes(space), "description": space.description, "sites": sites, "rules": rules, "file": space.to_dict()}


def _print_candidates(candidates: list[Candidate], json: bool) -> None:
    if json:
        emit_json([{"notation": str(candidate), "id": candidate.id, **candidate.to_dict()} for candidate in candidates])
    else:
        emit("\n".join(str(candidate) for candidate in candidates))
