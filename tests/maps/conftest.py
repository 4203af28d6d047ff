"""A small cluster to average."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.particles import angles_and_origins, write_particles_of

from dualcontrast.images import open_images
from dualcontrast.maps.backend import ClusterJob
from dualcontrast.maps.cluster_average import ClusterFiles, ClusterId, Inputs
from dualcontrast.maps.particles import select_particles
from dualcontrast.maps.refinement import Search


@pytest.fixture
def job(tmp_path: Path) -> ClusterJob:
    """Eight noisy copies of a bar, with stated poses."""
    rng = np.random.default_rng(0)
    bar = np.zeros((12, 12, 12))
    bar[5:8, 4:9, 2:10] = 4
    columns = angles_and_origins(np.arange(24.0).reshape(8, 3) / 10, np.zeros((8, 3)))
    star = write_particles_of(bar + rng.normal(size=(8, 12, 12, 12)), tmp_path / "data", **columns)
    particles = select_particles(open_images(star), np.arange(8), 0)
    search = Search(iterations=1, degrees=60)
    inputs = Inputs("rows", particles.stated_digest(True), "auto", True, search)
    (tmp_path / "out").mkdir()
    return ClusterJob(particles, ClusterFiles(ClusterId(1, 1), tmp_path / "out", tmp_path / "out"), inputs)
