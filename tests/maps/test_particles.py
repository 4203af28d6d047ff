"""The subtomograms of a cluster: halves, stated poses, and the files that list them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import starfile
import torch
from scipy.spatial.transform import Rotation
from tests.support.maps import untrained_run
from tests.support.particles import angles_and_origins, write_particles_of, write_star

from dualcontrast.analysis.clustering import cluster
from dualcontrast.errors import DualContrastWarning
from dualcontrast.images import open_images
from dualcontrast.maps.average import average
from dualcontrast.maps.particles import select_particles
from dualcontrast.maps.refinement import Search
from dualcontrast.poses import Poses


def test_equal_angles_state_no_poses_and_one_subset_no_halves(tmp_path: Path) -> None:
    volumes = np.random.default_rng(0).normal(size=(6, 8, 8, 8))
    columns = angles_and_origins(np.zeros((6, 3)), np.zeros((6, 3)))
    star = write_particles_of(volumes, tmp_path, **columns, rlnRandomSubset=[1, 1, 1, 2, 2, 2])
    subset = select_particles(open_images(star), np.arange(6), 0)
    assert subset.poses is None
    assert subset.halves.tolist() == [0, 0, 0, 1, 1, 1]
    assert sorted(select_particles(open_images(star), np.arange(3), 0).halves) == [0, 0, 1]


def test_rows_of_one_volume_are_in_one_half(tmp_path: Path) -> None:
    """Their noise is the same, and halves that share it would agree in it."""
    write_particles_of(np.random.default_rng(0).normal(size=(5, 8, 8, 8)), tmp_path)
    names = [f"sub/{place:03}.mrc" for place in (0, 1, 2, 3, 4, 2, 0, 1)]
    star = write_star(tmp_path / "twice.star", names)
    for seed in range(5):
        halves = select_particles(open_images(star), np.arange(8), seed).halves
        assert halves[[5, 6, 7]].tolist() == halves[[2, 0, 1]].tolist()
        assert len(set(halves)) == 2
    run = untrained_run(tmp_path / "run", star)
    run.keep_codes(np.where(np.isin(np.arange(8), (2, 5)), 9.0, 0)[:, None], np.zeros((8, 1)))
    cluster(run, content=2, transformation=1)
    with pytest.warns(DualContrastWarning, match="content2_transformation1 has a single image"):
        average(run, by="builtin", search=Search(iterations=1, degrees=60))


def test_poses_that_relion_wrote_go_to_their_rows(tmp_path: Path) -> None:
    """It may write rows in another order, and a volume may stand in several."""
    rng = np.random.default_rng(0)
    write_particles_of(rng.normal(size=(5, 8, 8, 8)), tmp_path)
    names = [f"sub/{place:03}.mrc" for place in (4, 0, 3, 1, 2, 0)]
    subset = select_particles(open_images(write_star(tmp_path / "twice.star", names)), np.arange(6), 0)
    only = np.array([True, True, False, True, True, True])
    turns = torch.from_numpy(Rotation.random(6, random_state=rng).as_matrix()).float()
    given = Poses(turns, torch.from_numpy(rng.normal(size=(6, 3))).float())
    refined = subset.write_star(tmp_path / "refined.star", given, only)
    blocks = starfile.read(refined)
    order = [3, 1, 4, 0, 2]  # of the two rows of a volume, the first stays before the second
    starfile.write({**blocks, "particles": blocks["particles"].iloc[order]}, refined)
    poses = Poses(torch.zeros(6, 3, 3), torch.zeros(6, 3))
    subset.update_poses(poses, refined, only)
    np.testing.assert_allclose(poses.rotations[only], given.rotations[only], atol=1e-4)
    np.testing.assert_allclose(poses.shifts[only], given.shifts[only], atol=1e-4)
    assert not poses.rotations[~only].any()
