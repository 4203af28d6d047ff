"""Lightning Fabric for the devices and the precision of a training."""

from __future__ import annotations

import logging
import os
from typing import Literal

from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from dualcontrast.devices import find_device

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]

logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it reports every choice it makes


def make_fabric(device: str, precision: Precision, find_unused_parameters: bool) -> Fabric:
    """Set up Fabric for a device.

    Under torchrun or SLURM, each process takes its share of every epoch.

    Parameters
    ----------
    device
        auto, cpu, cuda or cuda:1.
    precision
        32-true computes in 32 bits, the others in 16 bits where that does no harm.
    find_unused_parameters
        Whether some steps give gradients to a part of the weights only.

    Raises
    ------
    DeviceError
        There is no such device.
    """
    place = find_device(device)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", str(processes)))
        return Fabric(
            accelerator=place.type,
            strategy=DDPStrategy(find_unused_parameters=find_unused_parameters),
            devices=local,
            num_nodes=processes // local,
            precision=precision,
        )
    one_gpu = place.type == "cuda" and place.index is not None
    return Fabric(accelerator=place.type, devices=[place.index] if one_gpu else 1, precision=precision)
