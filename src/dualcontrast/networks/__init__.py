"""Encoders and decoders, for pictures and volumes alike."""

from dualcontrast.networks.decoder import Decoder, DecoderSettings
from dualcontrast.networks.encoder import Encoder, EncoderSettings, trunk_of
from dualcontrast.networks.gaussian import Gaussian
from dualcontrast.networks.perceptron import perceptron
from dualcontrast.networks.settings import NetworkSettings

__all__ = [
    "Decoder",
    "DecoderSettings",
    "Encoder",
    "EncoderSettings",
    "Gaussian",
    "NetworkSettings",
    "perceptron",
    "trunk_of",
]
