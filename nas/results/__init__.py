"""What a table of results means: the one room that says what may be compared, how sure it is and what may be said.

Tables in, tables or small frozen dataclasses out; no torch, no database, no drawing. Everything that speaks of results
(search, shrinking, latency, storage, reporting) asks here.

- `columns`: `RESULT_COLUMNS`, `Metric`, `MAP`, `finished`, `failed`: what a results table holds.
- `levels`: `Level`, `levels`, `quoted_level`, `widest_level`, `candidates`: which trainings may be compared.
- `noise`: `Noise`, `noise_of`, `block_codes`, `block_effects`: how much a training's score moves by itself.
- `intervals`: `Estimate`, `Spread`, `mean_interval`, `simultaneous_quantile`: intervals, or "not known".
- `differences`: `Difference`, `difference`, `to_controls`, `verdict_of`: is one network better than another.
- `costs`: `COSTS`, `Quote`, `read_times`, `ratio`: what a candidate costs, how surely, and what is slower than what.
- `cost_tables`: `time_table`, `given_table`, `with_costs`: the same as columns of tables.
- `additive`: `AdditiveModel`, `twins`: what a placement adds.
- `placement_costs`: `placement_costs`, `beside_reference`: what blocks and sites cost, and which are slower.
- `fronts`: `on_front`, `layers`, `crowding`, `hypervolume`: who is on the front.
- `choice`: `most_accurate`, `knee`: which candidate for a budget, with the runners-up that are not told apart.
- `power`: `ComparisonDesign`, `visible_difference`, `blocks_needed`: what a design can see.
- `answer`: `answer_of`, `Answer`: what a study may say in one sentence.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
