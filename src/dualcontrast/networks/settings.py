"""Settings of the two networks of a method."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from dualcontrast.networks.decoder import DecoderSettings
from dualcontrast.networks.encoder import EncoderSettings


class NetworkSettings(BaseModel):
    """Settings of the networks of a method."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: EncoderSettings = EncoderSettings()
    decoder: DecoderSettings = DecoderSettings()
