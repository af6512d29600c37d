"""Recipes: the published numbers, overrides, fidelities, ids, and what wrong ones say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import TrainingError
from nas.files.yaml_source import parse_yaml
from nas.spaces import Candidate
from nas.training.fidelity import Fidelity
from nas.training.named import NAMED
from nas.training.recipe import LOSS_SETUPS, LOSS_TERMS, Recipe, load_recipe, loss_terms, recipe_in, with_weights
from nas.training.schedule import learning_rate


def test_first_weights_count_by_content_and_published_ones_by_name(tmp_path: Path) -> None:
    """Of `weights`, and of the source of a transfer; older recipes keep their ids."""
    candidate = Candidate.parse("resnet18")
    for name, content in (("a.pth", b"one"), ("b.pth", b"one"), ("c.pth", b"two")):
        (tmp_path / name).write_bytes(content)
    for form in (lambda path: {"weights": path}, lambda path: {"transfer": {"from": path}}):
        written = [load_recipe(form(str(tmp_path / name))) for name in ("a.pth", "b.pth", "c.pth")]
        a, b, c = (with_weights(one, candidate) for one in written)
        assert a.id == b.id != c.id
        assert a.id != written[0].id
        assert load_recipe(a.to_dict()) == a == with_weights(a, candidate)
        (tmp_path / "a.pth").write_bytes(b"another")
        with pytest.raises(TrainingError, match="not the file that this training was planned with"):
            with_weights(a, candidate)
        (tmp_path / "a.pth").write_bytes(b"one")
    assert with_weights(Recipe(), candidate) == Recipe()
    for form in ({"weights": "gone.pth"}, {"transfer": {"from": "gone.pt"}}):
        with pytest.raises(TrainingError, match=r"there is no .* gone"):
            with_weights(load_recipe(form), candidate)
    (tmp_path / "a.pth").unlink()
    assert with_weights(a, candidate) == a  # what it held is known; whoever reads it says that it is gone


def test_strong_baseline_has_the_published_numbers() -> None:
    r = Recipe.named("strong_baseline")
    assert (r.weights, r.pooling, r.classifier_std, r.input) == ("IMAGENET1K_V1", "gap", 0.001, (256, 128))
    assert (r.optimiser, r.base_lr, r.weight_decay, r.epochs) == ("adam", 3.5e-4, 5e-4, 120)
    assert (r.milestones, r.decay, r.warmup_epochs, r.warmup_factor) == ((40, 70), 0.1, 10, 0.01)
    assert (r.identities, r.images, r.batch) == (16, 4, 64)
    a = r.augmentation
    assert (a.flip, a.pad, a.erasing, a.erasing_area, a.erasing_aspect) == (0.5, 10, 0.5, (0.02, 0.4), (0.3, 1 / 0.3))
    assert a.erasing_fill == a.mean == (0.485, 0.456, 0.406)
    assert a.std == (0.229, 0.224, 0.225)
    assert r.terms == ("cross_entropy", "triplet", "center")
    assert (r.cross_entropy.weight, r.cross_entropy.label_smoothing) == (1.0, 0.1)
    assert (r.triplet.weight, r.triplet.margin, r.triplet.soft_margin) == (1.0, 0.3, False)
    assert (r.center.weight, r.center.lr) == (5e-4, 0.5)
    assert (r.pairwise_circle.margin, r.pairwise_circle.gamma) == (0.25, 128)
    assert (r.circle_softmax.scale, r.circle_softmax.margin) == (64, 0.35)
    assert (r.feature_orthogonality.weight, r.weight_orthogonality.weight) == (1e-6, 1e-3)


def test_agw_and_cuhk03_variants() -> None:
    agw = Recipe.named("agw")
    assert (agw.pooling, agw.terms) == ("gem", ("cross_entropy", "weighted_triplet", "center"))
    assert Recipe.named("cuhk03").milestones == (80, 160)


def test_exact_learning_rate_trace() -> None:
    """The trace of the strong baseline, every one of its 120 epochs."""
    expected = {e: 3.5e-4 * (0.01 + 0.99 * e / 10) for e in range(1, 10)}
    expected |= dict.fromkeys(range(10, 40), 3.5e-4)
    expected |= dict.fromkeys(range(40, 70), 3.5e-5)
    expected |= dict.fromkeys(range(70, 121), 3.5e-6)
    recipe = Recipe.named("strong_baseline")
    assert {e: learning_rate(recipe, e) for e in range(1, 121)} == pytest.approx(expected, rel=1e-12)
    published = {1: 3.815e-5, 2: 7.28e-5, 5: 1.7675e-4, 9: 3.1535e-4}
    assert {e: learning_rate(recipe, e) for e in published} == pytest.approx(published, rel=1e-12)


def test_steps_of_an_epoch_share_its_rate_unless_asked_otherwise() -> None:
    recipe = Recipe()
    assert {learning_rate(recipe, 3, step, 7) for step in range(1, 8)} == {learning_rate(recipe, 3)}
    by_step = recipe.with_overrides({"per": "step"})
    rates = [learning_rate(by_step, e, s, 7) for e in (1, 2) for s in range(1, 8)]
    assert rates == sorted(set(rates))
    assert rates[6] == pytest.approx(learning_rate(recipe, 1))


def test_cosine_ends_where_it_should() -> None:
    recipe = Recipe().with_overrides({"schedule": "cosine", "final_lr_factor": 0.1, "epochs": 20, "warmup_epochs": 4})
    assert learning_rate(recipe, 4) == pytest.approx(recipe.base_lr)
    assert learning_rate(recipe, 12) == pytest.approx(0.55 * recipe.base_lr)
    assert learning_rate(recipe, 20) == pytest.approx(0.1 * recipe.base_lr)


def test_fewer_epochs_shrink_the_schedule_with_them() -> None:
    short = Recipe().at(Fidelity(epochs=60))
    assert (short.epochs, short.warmup_epochs, short.milestones) == (60, 5, (20, 35))
    assert Recipe().at(Fidelity(epochs=120)) == Recipe() == Recipe().at(None)
    assert Recipe().at(Fidelity(input=(128, 64))).input == (128, 64)


@given(st.integers(1, 300))
def test_any_number_of_epochs_is_a_legal_fidelity(epochs: int) -> None:
    recipe = Recipe().at(Fidelity(epochs=epochs))
    rates = [learning_rate(recipe, e) for e in range(1, epochs + 1)]
    assert all(0 < rate <= recipe.base_lr for rate in rates)


def test_a_fine_tuning_falls_to_nothing_from_a_third_of_the_rate() -> None:
    quickstart = load_recipe("quickstart").fine_tuned(Fidelity())
    assert (quickstart.epochs, quickstart.warmup_epochs, quickstart.per) == (4, 1, "step")
    assert quickstart.base_lr == pytest.approx(3e-3)
    assert learning_rate(quickstart, 4, 10, 10) == pytest.approx(3e-5)
    own = Recipe().fine_tuned(Fidelity(epochs=8, base_lr=1e-4, warmup_epochs=0))
    assert (own.epochs, own.base_lr, own.warmup_epochs, own.schedule) == (8, 1e-4, 0, "cosine")
    assert Recipe().fine_tuned(Fidelity(epochs=1)).warmup_epochs == 0


def test_fidelity_labels() -> None:
    assert Fidelity(epochs=4, base_lr=0.003, warmup_epochs=1).label == "e4-lr0.003-w1"
    assert Fidelity().label == Fidelity(identities=1.0).label == "full"
    assert Fidelity(epochs=10, input=(64, 32), identities=0.25).label == "e10-64x32-i0.25"
    assert Fidelity().identities_share == 1.0


@pytest.mark.parametrize("name", NAMED)
def test_named_recipes_survive_json(name: str) -> None:
    recipe = Recipe.named(name)
    back = load_recipe(json.loads(json.dumps(recipe.to_dict())))
    assert back == recipe
    assert back.id == recipe.id


def test_id_follows_what_decides_the_result_and_nothing_else() -> None:
    base = Recipe()
    for changes in ({"base_lr": 1e-3}, {"triplet.margin": 0.2}, {"augmentation": {"flip": 0.0}}, {"loss": "circle"}):
        assert base.with_overrides(changes).id != base.id
    for changes in ({"name": "mine"}, {"keep": "none"}, {"evaluate_every": 5}, {"checkpoint_seconds": 1}):
        assert base.with_overrides(changes).id == base.id


def test_overrides_reach_into_sections_and_leave_the_rest() -> None:
    recipe = Recipe().with_overrides({"triplet.soft_margin": True, "augmentation": {"pad": 4}, "epochs": 7})
    assert (recipe.triplet.soft_margin, recipe.triplet.margin) == (True, 0.3)
    assert (recipe.augmentation.pad, recipe.augmentation.flip) == (4, 0.5)
    assert Recipe().epochs == 120


def test_transfer_is_written_as_the_study_file_writes_it() -> None:
    recipe = load_recipe({"transfer": {"from": "market.pt", "head_epochs": 5}})
    assert (recipe.head_epochs, recipe.total_epochs) == (5, 125)
    assert load_recipe(recipe.to_dict()) == recipe
    assert learning_rate(recipe, 5) == recipe.base_lr
    assert learning_rate(recipe, 6) == pytest.approx(3.815e-5)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"epoch": 3}, ["unknown key 'epoch'", "'epochs'"]),
        ({"triplet": {"margn": 1}}, ["triplet.margn", "'margin'"]),
        ({"transfer": {"form": "x"}}, ["transfer"]),
        ({"loss": "cee"}, ["unknown loss 'cee'", "'ce'"]),
        ({"loss": "triplet+triplet"}, ["twice"]),
        ({"epochs": "many"}, ["epochs", "many"]),
        ({"epochs": -3}, ["epochs: a number of 1 or more is needed (it is -3)"]),
        ({"base_lr": -1}, ["base_lr", "a number above 0 is needed"]),
        ({"milestones": [70, 40]}, ["milestones must rise"]),
        ({"keep": "best"}, ["evaluate_every"]),
        ({"extends": "strong_baselin"}, ["unknown recipe", "'strong_baseline'"]),
        ("nosuch", ["unknown recipe 'nosuch'"]),
    ],
)
def test_wrong_recipes_say_what_is_wrong(spec: object, words: list[str]) -> None:
    with pytest.raises(TrainingError) as error:
        load_recipe(spec)  # type: ignore[arg-type]
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("text", "at", "where"),
    [
        ("extends: quickstart\nepohcs: 3\n", (), "f.yaml:2:1: recipe: unknown key 'epohcs'"),
        ("triplet:\n  margn: 1\n", (), "f.yaml:2:3: recipe: unknown key 'triplet.margn'"),
        ("name: x\nrecipe: {epochs: 0}\n", ("recipe",), "f.yaml:2:10: recipe: epochs"),
        ("name: x\nrecipe: nosuch\n", ("recipe",), "f.yaml:2:1: unknown recipe 'nosuch'"),
    ],
)
def test_what_is_wrong_in_a_file_has_its_line(text: str, at: tuple[str, ...], where: str) -> None:
    with pytest.raises(TrainingError, match=re.escape(where)):
        recipe_in(parse_yaml(text, "f.yaml"), at)


@pytest.mark.parametrize("setup", LOSS_SETUPS)
def test_loss_setups_are_made_of_known_terms_with_sections(setup: str) -> None:
    assert set(loss_terms(setup)) <= set(LOSS_TERMS) <= set(Recipe.model_fields)


def test_a_set_up_in_a_sum_is_told_apart_from_a_term() -> None:
    with pytest.raises(ValueError, match=r"whole set-up; in a sum write cross_entropy\+triplet\+center"):
        loss_terms("ce+triplet")


def test_a_list_of_terms_is_a_loss() -> None:
    assert load_recipe({"loss": ["cross_entropy", "pairwise_circle"]}).terms == ("cross_entropy", "pairwise_circle")


def test_recipes_do_not_load_torch() -> None:
    code = (
        "import sys, nas.training.recipe, nas.training.fidelity, nas.training.schedule; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_how_to_names_every_key_and_recipe() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "train-by-hand.md").read_text("utf-8")
    sections = {*LOSS_TERMS, "name"}
    for word in (*(set(Recipe.model_fields) - sections), *NAMED, *LOSS_SETUPS, *LOSS_TERMS):
        assert f"`{word}`" in page, word


def test_heads_and_losses_by_key() -> None:
    recipe = load_recipe({"head": {"pcb": {"parts": 4}}, "loss": "arcface+contrastive", "arcface": {"margin": 0.3}})
    assert (recipe.head_name, recipe.head_settings) == ("pcb", {"parts": 4})
    assert load_recipe(recipe.to_dict()) == recipe
    assert load_recipe({"head": {"pcb": {}}}).id == load_recipe({"head": "pcb"}).id
    assert (
        len({r.id for r in (Recipe(), recipe, load_recipe({"head": "pcb"}), load_recipe({"cosface.margin": 0.1}))}) == 4
    )


def test_ids_of_before_heads_and_these_losses_stay() -> None:
    """As computed by the version before them; a database holds such ids."""
    assert (Recipe().id, Recipe.named("quickstart").id) == ("f9497a25c53da228", "a36731b5dde0e693")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"head": "pbc"}, "unknown head 'pbc'.*did you mean 'pcb'"),
        ({"head": {"pcb": {"part": 3}}}, "unknown setting of pcb 'part'; did you mean 'parts'"),
        ({"head": {"pcb": {"parts": 0}}}, "parts of pcb must be a whole number from 1 to 65536"),
        ({"head": {"pcb": {}, "fc": {}}}, "give one head"),
        ({"loss": "arcfase"}, "unknown loss 'arcfase'; did you mean 'arcface'"),
        ({"own_losses": {"a:B": {"gamma": 2}}}, "own_losses has settings of a:B, which loss does not name"),
        (
            {"loss": "a:B", "own_losses": {"a:B": {"weight": -1}}},
            "weight of a:B must be a number of at least 0, not -1",
        ),
        ({"loss": "a:B", "own_losses": {"a:B": {"weight": "x"}}}, "weight of a:B must be a number of at least 0"),
    ],
)
def test_wrong_heads_and_losses_are_one_sentence(given: dict[str, object], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        load_recipe(given)


def test_names_of_ones_own_in_packages_are_keys_and_a_head_replaces_another() -> None:
    recipe = load_recipe({"loss": "my.parts:focal", "own_losses": {"my.parts:focal": {"weight": 0, "gamma": 2.0}}})
    assert (recipe.loss_weight("my.parts:focal"), recipe.loss_settings("my.parts:focal")) == (0.0, {"gamma": 2.0})
    again = recipe.with_overrides({"own_losses.my.parts:focal.weight": 0.5, "head": {"pcb": {"parts": 2}}})
    assert again.loss_weight("my.parts:focal") == 0.5
    assert load_recipe(again.to_dict()) == again
    assert again.with_overrides({"head": {"fc": {"features": 64}}}).head == {"fc": {"features": 64}}
    assert again.with_overrides({"head.pcb.features": 8}).head == {"pcb": {"parts": 2, "features": 8}}
