"""How much of a full training is spent on one candidate: epochs, image size, share of the identities.

Torch-free. Applying a fidelity to a recipe is `Recipe.at`; drawing fewer identities is left to `nas.data.prepare`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

FINE_TUNING_EPOCHS = 4
"""Epochs of a training that goes on from a trained network, when nothing is said."""

Pixels = Annotated[int, Field(ge=8)]


class Fidelity(BaseModel):
    """A cheaper version of a recipe; what is not given stays as the recipe says.

    For a training that goes on from a trained network it is the schedule of the fine-tuning (`Recipe.fine_tuned`).

    >>> Fidelity(epochs=60).label, Fidelity().label, Fidelity(epochs=9, input=(64, 32), identities=0.5).label
    ('e60', 'full', 'e9-64x32-i0.5')
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: Annotated[int, Field(ge=1)] | None = Field(None, description="epochs; the schedule shrinks with them")
    input: tuple[Pixels, Pixels] | None = Field(None, description="image height and width in pixels")
    identities: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(None, description="share of the identities")
    base_lr: Annotated[float, Field(gt=0.0)] | None = Field(None, description="learning rate after the warm-up")
    warmup_epochs: Annotated[int, Field(ge=0)] | None = Field(None, description="epochs in which the rate rises")

    @property
    def label(self) -> str:
        """Short name for tables: `full`, or the parts that differ joined by dashes."""
        parts = []
        if self.epochs is not None:
            parts.append(f"e{self.epochs}")
        if self.input is not None:
            parts.append(f"{self.input[0]}x{self.input[1]}")
        if self.identities not in (None, 1.0):
            parts.append(f"i{self.identities:g}")
        if self.base_lr is not None:
            parts.append(f"lr{self.base_lr:g}")
        if self.warmup_epochs is not None:
            parts.append(f"w{self.warmup_epochs}")
        return "-".join(parts) or "full"

    @property
    def of_data(self) -> Fidelity:
        """The part that says which data, without the schedule."""
        return Fidelity(input=self.input, identities=self.identities)

    @property
    def identities_share(self) -> float:
        """The share of training identities, 1.0 when not given (for `nas.data.prepare`)."""
        return 1.0 if self.identities is None else self.identities
