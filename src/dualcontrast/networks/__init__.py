"""Encoders and decoders, for pictures and volumes alike."""

from dualcontrast.networks.decoder import Decoder, DecoderSettings
from dualcontrast.networks.encoder import Encoder, EncoderSettings, trunk_of
from dualcontrast.networks.gaussian import Gaussian
from dualcontrast.networks.perceptron import perceptron

__all__ = ["Decoder", "DecoderSettings", "Encoder", "EncoderSettings", "Gaussian", "perceptron", "trunk_of"]
