"""Structures become density: of real entries, of maps, and of files that hold neither."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gemmi
import mrcfile
import numpy as np
import pytest
from scipy import ndimage

from dualcontrast.cryoet.simulation import simulation_settings
from dualcontrast.cryoet.structures import download_structure, structure_path, template_of
from dualcontrast.errors import SourceError


@pytest.fixture(scope="module")
def proteins(shared_data: Path) -> Path:
    return shared_data / "proteins"


def one_atom(path: Path, *places: tuple[float, float, float]) -> Path:
    structure = gemmi.Structure()
    structure.name = path.name.split(".")[0]
    chain = gemmi.Chain("A")
    for number, place in enumerate(places):
        residue = gemmi.Residue()
        residue.name, residue.seqid = "GLY", gemmi.SeqId(number + 1, " ")
        atom = gemmi.Atom()
        atom.name, atom.element, atom.pos = "CA", gemmi.Element("C"), gemmi.Position(*place)
        residue.add_atom(atom)
        chain.add_residue(residue)
    model = gemmi.Model(1) if gemmi.__version__ >= "0.7" else gemmi.Model("1")
    model.add_chain(chain)
    structure.add_model(model)
    structure.write_pdb(str(path))
    return path


# ---- density


def test_an_atom_is_a_gaussian_that_falls_to_1_over_e_at_the_resolution(tmp_path: Path) -> None:
    box, voxel, resolution = 32, 2.0, 16.0
    template = template_of(one_atom(tmp_path / "a.pdb", (5, 6, 7)), box, voxel, resolution)
    spectrum = np.abs(np.fft.fftn(template))
    at_resolution = round(box * voxel / resolution)
    ratio = spectrum[0, 0, at_resolution] / spectrum[0, 0, 0]
    # carbon's own form factor falls a little as well: to 0.97 at 1 / 16 A
    assert ratio == pytest.approx(np.exp(-1), rel=0.05)
    assert np.unravel_index(template.argmax(), template.shape) == (16, 16, 16)


def test_places_are_kept_relative_to_the_centre_of_mass(tmp_path: Path) -> None:
    # three atoms at one place and one at another: the centre of mass lies a quarter of the way
    places = [(0.0, 0.0, 0.0)] * 3 + [(40.0, 0.0, 0.0)]
    template = template_of(one_atom(tmp_path / "a.pdb", *places), 32, 5.0, 10.0)
    along_x = template[16, 16]
    peaks = [
        i
        for i in range(1, 31)
        if along_x[i] > 0.1 * along_x.max() and along_x[i] > max(along_x[i - 1], along_x[i + 1])
    ]
    assert peaks == [14, 22]  # -10 A and +30 A
    assert along_x[14] == pytest.approx(3 * along_x[22], rel=0.02)


@pytest.mark.parametrize("box", [24, 25])
def test_real_proteins_lie_about_the_middle_voxel(proteins: Path, box: int) -> None:
    template = template_of(proteins / "nucleosome" / "2pyo.pdb.gz", box, 10.0, 20.0)
    centre = ndimage.center_of_mass(np.clip(template, 0, None))
    np.testing.assert_allclose(centre, [box // 2] * 3, atol=0.15)
    assert template.shape == (box, box, box)


def test_nothing_lies_beyond_the_nyquist_sphere(proteins: Path) -> None:
    template = template_of(proteins / "spike" / "6vxx.pdb.gz", 24, 10.0, 10.0)
    spectrum = np.abs(np.fft.fftshift(np.fft.fftn(template)))
    z, y, x = np.indices(spectrum.shape) - 12
    outside = np.sqrt(z**2 + y**2 + x**2) > 12
    assert spectrum[outside].max() < 1e-6 * spectrum.max()


def test_a_map_keeps_its_density(shared_data: Path) -> None:
    path = shared_data / "maps" / "2uv8.mrc.gz"
    template = template_of(path, 32, 10.0, 10.0)
    with mrcfile.open(path, permissive=True) as file:
        original = np.array(file.data, float)
    assert template.sum() == pytest.approx(original.sum(), rel=1e-3)
    # the same voxel size: only a shift by a part of a voxel and a cut edge
    middle = np.array(ndimage.center_of_mass(original))
    moved = ndimage.shift(original, np.array(original.shape) // 2 - middle, order=3)
    crop = tuple(slice(n // 2 - 16, n // 2 + 16) for n in original.shape)
    assert np.corrcoef(moved[crop].ravel(), template.ravel())[0, 1] > 0.99


def test_a_map_of_fine_voxels_is_not_aliased(tmp_path: Path) -> None:
    """A ripple finer than the template's voxels vanishes, and the blob under it stays."""
    z, y, x = (np.indices((64, 64, 64)) - 32) * 2.5
    blob = np.exp(-(x**2 + y**2 + z**2) / (2 * 20**2))
    ripple = blob * (1 + np.cos(2 * np.pi * x / 6.0))
    for name, density in (("blob", blob), ("ripple", ripple)):
        with mrcfile.new(tmp_path / f"{name}.mrc") as file:
            file.set_data(density.astype(np.float32))
            file.voxel_size = 2.5
    plain, rippled = (template_of(tmp_path / f"{name}.mrc", 16, 10.0, 10.0) for name in ("blob", "ripple"))
    np.testing.assert_allclose(rippled, plain, atol=0.02)


def test_too_large_a_structure_is_refused(proteins: Path) -> None:
    with pytest.raises(SourceError, match=r"outside a sphere of 120 A; choose a larger `box` or `voxel_size`"):
        template_of(proteins / "spike" / "6vxx.pdb.gz", 12, 10.0, 10.0)


def test_too_large_a_map_is_refused(shared_data: Path) -> None:
    with pytest.raises(SourceError, match="outside a sphere of 160 A"):
        template_of(shared_data / "maps" / "4v4r.mrc.gz", 16, 10.0, 10.0)


# ---- files that are none


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pdb", b"nothing"),
        ("a.cif", b"data_x\n_cell"),
        ("a.pdb.gz", b"no gzip"),
        ("a.cif.gz", gzip.compress(b"x", mtime=0)),
    ],
)
def test_files_without_atoms_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=rf"{name}: (damaged, or neither PDB nor mmCIF|has no atoms)"):
        template_of(tmp_path / name, 16, 10.0, 10.0)


def test_a_map_without_voxel_size_is_refused(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(np.ones((8, 8, 8), np.float32))
    with pytest.raises(SourceError, match="states no voxel size"):
        template_of(tmp_path / "a.mrc", 16, 10.0, 10.0)


def test_a_map_without_density_is_refused(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(np.full((8, 8, 8), -1, np.float32))
        file.voxel_size = 10
    with pytest.raises(SourceError, match="no positive density"):
        template_of(tmp_path / "a.mrc", 16, 10.0, 10.0)


# ---- finding and downloading


def test_files_are_found_here_and_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.pdb").touch()
    assert structure_path("a.pdb", tmp_path / "data") == tmp_path / "data" / "a.pdb"
    monkeypatch.chdir(tmp_path / "data")
    assert structure_path("a.pdb") == Path("a.pdb")
    with pytest.raises(SourceError, match=r"b.pdb: no such structure; give the folder of the files as `data`"):
        structure_path("b.pdb")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DUALCONTRAST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "structures"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which a local server gives its files."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def put(folder: Path, name: str, entry: str, proteins: Path) -> None:
    structure = gemmi.read_structure(str(proteins / "nucleosome" / "2pyo.pdb.gz"))
    structure.name = entry
    text = structure.make_mmcif_document().as_string()
    (folder / name).write_bytes(gzip.compress(text.encode()))


def test_an_entry_is_downloaded_once(cache: Path, served: tuple[Path, str], proteins: Path) -> None:
    folder, address = served
    put(folder, "2pyo.cif.gz", "2PYO", proteins)
    path = download_structure("2PYO", address)
    assert path == cache / "2pyo.cif.gz"
    (folder / "2pyo.cif.gz").unlink()
    assert download_structure("2pyo", address) == path
    assert structure_path("2pyo") == path
    expected = template_of(proteins / "nucleosome" / "2pyo.pdb.gz", 16, 10.0, 20.0)
    np.testing.assert_allclose(template_of(path, 16, 10.0, 20.0), expected, atol=1e-3 * expected.max())


def test_what_is_not_the_entry_is_not_kept(cache: Path, served: tuple[Path, str], proteins: Path) -> None:
    folder, address = served
    put(folder, "6vxx.cif.gz", "2PYO", proteins)
    (folder / "6vyb.cif.gz").write_bytes(b"<html>busy</html>")
    for entry, reason in (("6vxx", "is the entry 2PYO"), ("6vyb", "damaged"), ("6xr8", "cannot be downloaded")):
        with pytest.raises(SourceError, match=reason):
            download_structure(entry, address)
    assert not list(cache.glob("*"))


# ---- packaged coarse models


@pytest.mark.parametrize("name", ["nucleosome/2pyo", "spike/6vxx", "spike/6vyb", "spike/6xra"])
def test_coarse_models_look_as_their_structures_do(name: str, shared_data: Path) -> None:
    packaged = structure_path(f"models/{name.split('/')[1]}.pdb.gz")
    assert packaged.stat().st_size < 20_000
    whole, coarse = (
        template_of(path, 24, 14.0, 28.0) for path in (shared_data / "proteins" / f"{name}.pdb.gz", packaged)
    )
    assert np.corrcoef(whole.ravel(), coarse.ravel())[0, 1] > 0.98


def test_the_packaged_demo_needs_no_files() -> None:
    settings = simulation_settings("demo")
    assert {state.identity for state in settings.states} == {"nucleosome", "spike"}
    for state in settings.states:
        template = template_of(
            structure_path(state.structure), settings.box, settings.voxel_size, settings.resolution
        )
        assert template.max() > 0
