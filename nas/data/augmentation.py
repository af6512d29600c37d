"""The numbers of augmentation, with the strong baseline's as defaults; torch-free.

What they do to a batch is `nas.data.augment`'s matter.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from nas.spaces.plugins import is_part, unknown_part

Share = Annotated[float, Field(ge=0, le=1)]
Triple = tuple[float, float, float]
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


class Augmentation(BaseModel):
    """Every number of the augmentation; the defaults are the published ones of Luo et al. 2019.

    The order is fixed: flip, pad and crop, colour, blur, one's own in their order, normalise, random erasing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    flip: Share = Field(0.5, description="probability of a left-right flip")
    pad: int = Field(
        10, ge=0, le=1_024, description="black border, px at 256 px of height, else in proportion; then a random crop"
    )
    brightness: float = Field(0.0, ge=0, description="factor drawn from [1-b, 1+b]; 0 = off")
    contrast: float = Field(0.0, ge=0, description="factor drawn from [1-c, 1+c]; 0 = off")
    saturation: float = Field(0.0, ge=0, description="factor drawn from [1-s, 1+s]; 0 = off")
    blur: Share = Field(0.0, description="probability of a Gaussian blur")
    blur_sigma: tuple[float, float] = Field((0.1, 2.0), description="its standard deviation in pixels, uniform")
    own: dict[str, dict[str, bool | int | float | str | None]] = Field(
        default={},
        description="augmentations of one's own, as module:name with its settings: {my_steps:rain: {drops: 50}}",
    )
    erasing: Share = Field(0.5, description="probability of random erasing")
    erasing_area: tuple[float, float] = Field((0.02, 0.4), description="erased share of the image, uniform")
    erasing_aspect: tuple[float, float] = Field((0.3, 1 / 0.3), description="height over width, uniform")
    erasing_fill: Triple = Field(IMAGENET_MEAN, description="value written after normalisation")
    mean: Triple = Field(IMAGENET_MEAN, description="normalisation: subtracted, RGB in 0-1")
    std: Triple = Field(IMAGENET_STD, description="normalisation: divided by")

    @field_validator("own")
    @classmethod
    def _known(cls, value: dict[str, object]) -> object:
        for name in value:
            if not is_part("augmentation", name, ()):
                raise ValueError(unknown_part("augmentation", name, ()))
        return value

    @model_serializer(mode="wrap")
    def _without_nothing(self, serialise: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Without `own` where there is none: recipes of before it keep their ids."""
        data: dict[str, object] = serialise(self)
        return data if self.own else {key: value for key, value in data.items() if key != "own"}

    @model_validator(mode="after")
    def _ranges_in_order(self) -> Augmentation:
        for name in ("blur_sigma", "erasing_area", "erasing_aspect"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be two numbers above 0, low before high, not {(low, high)}")
        if self.blur_sigma[1] > 100:
            raise ValueError(f"blur_sigma is at most 100 px, not {self.blur_sigma[1]}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be above 0, not {self.std}")
        return self

    @property
    def changes_colours(self) -> bool:
        """Whether brightness, contrast, saturation or blur is on."""
        return max(self.brightness, self.contrast, self.saturation, self.blur) > 0
