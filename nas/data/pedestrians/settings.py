"""How large and how hard a generated pedestrian set is; every key may be given in a study file."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from nas.files.hashes import hash_of_data

GENERATOR_VERSION = 4
"""Part of every generated set's id: raised whenever the same settings draw other images."""

Count = Annotated[int, Field(ge=1, le=9999)]


class PedestrianSettings(BaseModel):
    """Settings of a generated set; the id hashes them with the generator's version.

    >>> PedestrianSettings(train_identities=8).images_total
    640
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    train_identities: Count = Field(64, description="persons to learn from")
    test_identities: Count = Field(32, description="other persons, for query and gallery")
    cameras: Annotated[int, Field(ge=2, le=20)] = Field(4, description="cameras; every person passes all of them")
    images: Count = Field(4, description="images a person and camera; in the test split one of them is the query")
    distractors: Annotated[int, Field(ge=0, le=9999)] = Field(0, description="gallery images of nobody searched for")
    height: Annotated[int, Field(ge=32, le=512)] = Field(128, description="image height in pixels")
    width: Annotated[int, Field(ge=16, le=512)] = Field(64, description="image width in pixels")
    lookalikes: Count = Field(4, description="persons that share garments and their colours")
    occlusion: Annotated[float, Field(ge=0, le=1)] = Field(0.2, description="share of images with something in front")
    clutter: Annotated[float, Field(ge=0, le=1)] = Field(
        0.4, description="share of images with someone or something behind"
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="another seed, other persons, cameras and images")

    @property
    def id(self) -> str:
        """16 hex digits: equal settings and generator version, equal images."""
        return hash_of_data([GENERATOR_VERSION, self.model_dump()])

    @property
    def persons(self) -> int:
        """Training and test persons."""
        return self.train_identities + self.test_identities

    @property
    def images_total(self) -> int:
        """Images of the whole set."""
        return self.persons * self.cameras * self.images + self.distractors
