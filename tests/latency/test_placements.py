"""Profiles on a planted device: what is measured, what is not measured twice, what drift does, where it stops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from latency_builders import DEVICE, PROTOCOL, PlantedDevice, make_pair, memory_store, small_space

from nas.errors import SpaceError
from nas.latency import LatencyRecord
from nas.latency.placement_table import PlacementTable
from nas.latency.placements import ProfileOutcome, plan_profile, profile
from nas.latency.store import RepositoryStore
from nas.results.additive import cross_validate, part_of
from nas.spaces import Candidate, DesignSpace


def run(store: RepositoryStore, device: object, **settings: object) -> object:
    return profile(
        plan_profile(small_space()),
        PROTOCOL,
        store,
        measure_one=device,
        device=DEVICE,
        **settings,  # type: ignore[arg-type]
    )


def stored(store: RepositoryStore) -> int:
    return len(store.find(None, PROTOCOL, DEVICE))


def test_equal_tensors_are_planned_once() -> None:
    planned = plan_profile(small_space(), checks=3)
    assert [candidate.notation for candidate in planned[:2]] == ["resnet50", "resnet101"]
    parts = [part_of(candidate, candidate.placements[0]) for candidate in planned[2:]]
    assert len(set(parts)) == 2 * 5  # five shapes a block, as the paper says
    assert set(parts[10:]) <= set(parts[:10])  # checks
    assert len(parts) == 10 + 3
    assert len(set(planned)) == len(planned)


def test_the_plan_is_a_function_of_the_space_and_the_seed() -> None:
    assert plan_profile(small_space(), seed=4) == plan_profile(small_space(), seed=4)
    assert plan_profile(small_space(), seed=4) != plan_profile(small_space(), seed=5)


def test_networks_with_several_blocks_judge_the_prediction() -> None:
    given = {"name": "pairs", "backbones": ["resnet50"], "sites": [4, 8, 14], "blocks": ["se", "cnl"]}
    space = DesignSpace.from_dict({**given, "rules": [{"max_blocks": 2}]})
    planned = plan_profile(space, several=6)
    assert [len(candidate.placements) for candidate in planned].count(2) == 6
    assert planned == plan_profile(space, several=6)
    profile(planned, PROTOCOL, store := memory_store(), measure_one=PlantedDevice(), device=DEVICE)
    rows = PlacementTable(store.find(None, PROTOCOL, DEVICE)).rows()
    error = cross_validate(rows)
    assert error is not None
    assert (error.networks, error.worst_percent) == (6, pytest.approx(0.0, abs=1e-6))

    single = DesignSpace.from_dict({**given, "rules": [{"max_blocks": 1}]})
    assert all(len(candidate.placements) < 2 for candidate in plan_profile(single, several=6))


def test_a_reference_that_is_the_baseline_is_measured_once() -> None:
    planned = plan_profile(small_space(), references=["resnet50"])
    assert [candidate.notation for candidate in planned].count("resnet50") == 1


def test_every_placement_gets_its_planted_increment() -> None:
    device = PlantedDevice()
    run(store := memory_store(), device)
    frame = PlacementTable(store.find(None, PROTOCOL, DEVICE)).to_frame()
    singles = frame[frame["n_blocks"] == 1]
    assert len(singles) == 34
    for row in singles.itertuples():
        planted = device.ms(Candidate.parse(row.notation)) - 30.0
        assert row.increment_ms == pytest.approx(planted)
        assert row.low_ms <= row.increment_ms <= row.high_ms
    assert (singles["measured"].sum(), singles["same_as"].notna().sum()) == (12, 22)


def test_a_second_run_measures_nothing() -> None:
    store, device = memory_store(), PlantedDevice()
    run(store, device)
    again = PlantedDevice()
    run(store, again)
    assert again.measured == []


def test_a_stopped_profile_goes_on_where_it_was() -> None:
    store, device = memory_store(), PlantedDevice()
    asked = iter(range(100))
    run(store, device, should_stop=lambda: next(asked) >= 5)
    before = set(device.measured)
    assert 0 < stored(store) < 14
    rest = PlantedDevice()
    run(store, rest)
    assert stored(store) == 14
    assert not before & set(rest.measured)


def test_what_was_measured_before_a_crash_is_kept() -> None:
    class Crash(PlantedDevice):
        def __call__(self, candidate: Candidate, *how: Any, **more: Any) -> LatencyRecord:
            if len(self.measured) == 6:
                raise KeyboardInterrupt
            return super().__call__(candidate, *how, **more)

    store = memory_store()
    with pytest.raises(KeyboardInterrupt):
        run(store, Crash())
    assert stored(store) == 6


def test_the_machines_speed_does_not_matter_to_what_is_timed_in_turns() -> None:
    """Each network is measured at another speed; milliseconds are those of the first reading of the reference."""
    device = PlantedDevice(slowness=lambda count: 1.0 + 0.2 * (count % 5))
    run(store := memory_store(), device)
    for candidate, record in store.find(None, PROTOCOL, DEVICE).items():
        assert record.median_ms == pytest.approx(device.ms(candidate))
        assert record.reference == (None if candidate.notation == "resnet50" else "resnet50")
        assert record.drift is None
    assert device.measured.count("resnet50") == 1


def test_a_plain_network_is_timed_beside_the_first_one() -> None:
    device, store = PlantedDevice(), memory_store()
    run(store, device)
    (record,) = store.find([Candidate.parse("resnet101")], PROTOCOL, DEVICE).values()
    assert (record.reference, record.ratio) == ("resnet50", pytest.approx(50.0 / 30.0))


def test_a_network_brings_its_reference() -> None:
    device, store = PlantedDevice(), memory_store()
    wanted = Candidate.parse("resnet101+se@4")
    first = Candidate.parse("resnet50")
    settings = {"measure_one": device, "device": DEVICE, "plain": first}
    profile([wanted], PROTOCOL, store, **settings)  # type: ignore[arg-type]
    assert device.measured == ["resnet50", "resnet101", "resnet101+se@4"]
    assert store.find([wanted], PROTOCOL, DEVICE)[wanted].median_ms == pytest.approx(device.ms(wanted))


def test_ratios_that_are_not_sure_are_said() -> None:
    sure = make_pair([[(31.0, 30.0), (30.9, 30.0)] * 10])
    unsure = make_pair([[(31.0, 30.0)] * 20 + [(45.0, 30.0)] * 20])
    found = ProfileOutcome(PROTOCOL, DEVICE, {Candidate.parse("resnet50+se@8"): sure})
    assert found.warnings == []
    found.records[Candidate.parse("resnet50+se@4")] = unsure
    assert found.warnings[0].startswith("1 of 2 networks are known to no better than 2% of the reference's time")


def test_only_named_blocks_are_planned() -> None:
    planned = plan_profile(small_space(), checks=0, blocks=["se"])
    assert [p.block for candidate in planned for p in candidate.placements] == ["se"] * 5


def test_a_network_that_cannot_be_built_does_not_stop_the_others() -> None:
    class Picky(PlantedDevice):
        def __call__(self, candidate: Candidate, *how: Any, **more: Any) -> LatencyRecord:
            if candidate.placements and candidate.placements[0].block == "cnl":
                raise SpaceError("the map is too small")
            return super().__call__(candidate, *how, **more)

    found = run(store := memory_store(), Picky())
    assert set(found.failures.values()) == {"the map is too small"}  # type: ignore[attr-defined]
    assert sum("se@" in candidate.notation for candidate in store.find(None, PROTOCOL, DEVICE)) >= 5


def test_progress_counts_networks() -> None:
    told: list[tuple[int, int]] = []
    run(memory_store(), PlantedDevice(), progress=lambda done, total, what="": told.append((done, total)))
    assert told[-1] == (14, 14)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_what_was_disturbed_is_measured_once_more() -> None:
    class Disturbed(PlantedDevice):
        """Others keep the machine busy during the fourth and fifth measurement."""

        def __call__(self, candidate: Candidate, *how: Any, **more: Any) -> LatencyRecord:
            busy = len(self.measured) in (3, 4)
            record = super().__call__(candidate, *how, **more)
            return replace(record, isolated=not busy, median_ms=record.median_ms * (3.0 if busy else 1.0))

    store, device = memory_store(), Disturbed()
    run(store, device)
    records = store.find(None, PROTOCOL, DEVICE)
    assert all(record.isolated for record in records.values())
    assert all(record.corrected_ms == pytest.approx(device.ms(candidate)) for candidate, record in records.items())
    assert sorted(device.measured.count(name) for name in {*device.measured} - {"resnet50"})[-3:] == [1, 2, 2]


def test_a_machine_that_is_never_quiet_is_asked_twice_not_for_ever() -> None:
    class Busy(PlantedDevice):
        def __call__(self, candidate: Candidate, *how: Any, **more: Any) -> LatencyRecord:
            return replace(super().__call__(candidate, *how, **more), isolated=False)

    store, device = memory_store(), Busy()
    run(store, device)
    assert stored(store) == 14
    assert {device.measured.count(name) for name in {*device.measured} - {"resnet50"}} == {2}
