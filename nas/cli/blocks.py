"""`nas blocks`: which attention blocks there are, and what each declares about itself."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas import networks, search, spaces
from nas.cli.common import Force, Json, Size, emit, emit_json, parse_size, print_table
from nas.cli.space import Space, open_space
from nas.files.outputs import check_outputs

if TYPE_CHECKING:
    from nas.networks import AttentionBlock
    from nas.spaces.blocks import BlockSpec, ParamSpec

_SITES = (1, 2, 5, 9, 15)  # one of each shape in ResNet-50


def list_(json: Json = False) -> None:
    """List all blocks: those of the package and those of installed packages (entry point `nas.blocks`).

    Example: nas blocks list
    """
    specs = [spaces.get_block_spec(name) for name in spaces.block_names()]
    if json:
        emit_json([_declaration(spec) for spec in specs])
        return
    rows = [(spec.name, spec.title, spec.family, _defaults(spec), spec.summary) for spec in specs]
    print_table(("name", "title", "family", "hyperparameters", "what it does"), rows)


def describe(
    name: Annotated[str, typer.Argument(metavar="BLOCK", help="Name of a block, or module:Class.")], json: Json = False
) -> None:
    """Describe one block: hyperparameters, shapes, formulas, cost at the five site shapes of ResNet-50, source.

    Example: nas blocks describe cnl
    """
    spec, block = spaces.get_block_spec(name), networks.get_block(name)
    costs = [_cost(block, site) for site in _SITES]
    if json:
        emit_json(_declaration(spec) | _networks_part(block) | {"costs": costs})
        return
    emit(f"{spec.title} ({spec.name}), {spec.family}\n{spec.summary}\n{_definition(block)}\n")
    legal = [(p.name, ", ".join(map(spaces.format_value, p.choices)), _default(p), p.doc) for p in spec.settings]
    print_table(("hyperparameter", "values", "default", "meaning"), legal)
    emit("")
    emit(f"parameters   {block.params_text}\nMACs         {block.macs_text}")
    emit(f"at insertion {_insertion(block)}\nshapes       {_shapes(block)}")
    emit(f"forms        {', '.join(block.forms)}\nsource       {spec.source}\n")
    rows = [list(cost.values()) for cost in costs]
    print_table(("site", "CxHxW", "parameters", "MACs, plain", "MACs, fast"), rows, "Defaults in ResNet-50 at 256x128")


def limit(
    space: Space,
    measure: Annotated[str, typer.Option(help="params, macs or activations.")] = "params",
    than: Annotated[
        str, typer.Option(help="A network no placement may exceed, or a number such as 30e6.")
    ] = "resnet101",
    input_size: Size = "256x128",
    out: Annotated[Path | None, typer.Option(help="Rules file to write (.yaml or .json).")] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Rule out placements by size alone, before anything is timed or trained; one rule a backbone.

    Example: nas blocks limit resnet50_attention --measure params --than 30e6 --out small.yaml
    """
    check_outputs((out,), (Path(space),), force=force)
    chosen, number = open_space(space), _number(than)
    findings = []
    for baseline in chosen.baselines():
        singles = [c for c in chosen.singles() if c.baseline == baseline.architecture]
        most = number if number is not None else search.reference_candidate(than, baseline)
        findings.append(networks.size_finding(singles, measure, most, parse_size(input_size)))
    rules = spaces.RuleSet(tuple(findings), spaces.Provenance(), f"{chosen.name}-{measure}")
    if out is not None:
        rules.save(out)
    if json:
        emit_json(rules.to_dict())
        return
    for finding in findings:
        emit(finding.sentence())


def _number(text: str) -> int | None:
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        return None


def _declaration(spec: BlockSpec) -> dict[str, object]:
    """What a specification says, as plain data."""
    params = [
        {"name": p.name, "choices": list(p.choices), "default": p.default, "doc": p.doc, "active_if": p.active_if}
        for p in spec.settings
    ]
    return {
        "name": spec.name,
        "title": spec.title,
        "family": spec.family,
        "summary": spec.summary,
        "hyperparameters": params,
        "source": spec.source,
    }


def _networks_part(block: type[AttentionBlock]) -> dict[str, object]:
    """What the class says beyond its specification, with defaults."""
    return {
        "params_formula": block.params_text,
        "macs_formula": block.macs_text,
        "identity_at_insertion": block.identity_at_insertion(),
        "identity_with": _identity_settings(block),
        "tied_to_input_size": block.tied_to_input_size(),
        "shapes": _shapes(block),
        "forms": list(block.forms),
    }


def _definition(block: type[AttentionBlock]) -> str:
    """The class's docstring without the list of attributes."""
    return inspect.cleandoc(block.__doc__ or "").split("\n\nAttributes:")[0]


def _identity_settings(block: type[AttentionBlock]) -> list[str]:
    """Single hyperparameter values, beside defaults, with which the block starts as the identity."""
    return [
        f"{p.name}={choice}"
        for p in block.spec.settings
        if p.active_if is None
        for choice in p.choices
        if block.identity_at_insertion(**{p.name: choice})
    ]


def _insertion(block: type[AttentionBlock]) -> str:
    if block.identity_at_insertion():
        return "the identity: trained features pass through unchanged"
    others = _identity_settings(block)
    return "not the identity" + (f"; the identity with {' or '.join(others)}" if others else "")


def _shapes(block: type[AttentionBlock]) -> str:
    return "any C, H, W; tied to the one it is built for" if block.tied_to_input_size() else "any C, H, W"


def _cost(block: type[AttentionBlock], number: int) -> dict[str, int | str | None]:
    shape = networks.FeatureShape(*spaces.get_topology("resnet50").site(number).shape())
    refusal = block.refusal(shape, **block.complete({}))
    return {
        "site": number,
        "shape": refusal or str(shape),
        "params": None if refusal else block.params_formula(shape),
        "macs_plain": None if refusal else block.macs_formula(shape, form="plain"),
        "macs_fast": None if refusal else block.macs_formula(shape, form="fast"),
    }


def _defaults(spec: BlockSpec) -> str:
    return ", ".join(f"{p.name}={_default(p)}" for p in spec.params if p.active_if is None)


def _default(param: ParamSpec) -> str:
    other = [
        f"{spaces.format_value(v)} with {name}={spaces.format_value(value)}" for name, value, v in param.default_if
    ]
    return "; ".join([spaces.format_value(param.default), *other])
