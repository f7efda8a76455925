# SPDX-License-Identifier: BSD-3-Clause
"""A wheel is built here, is small, and works in a Python that has nothing else."""

import importlib.util
import os
import subprocess
import sys
import venv
import zipfile

import pytest

import dlslime

SOURCE = os.environ.get("DLSLIME_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(__file__)))

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(m) for m in ("scikit_build_core", "Cython", "pip")),
    reason="scikit-build-core, cython and pip are needed: tools/venv makes a Python that has them")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Without isolation, so without the network; its build directory is private."""
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps",
                    "--disable-pip-version-check", "-w", out / "out",
                    f"--config-settings=build-dir={out}/build", SOURCE], check=True, timeout=170)
    found, = (out / "out").iterdir()
    return found


def test_the_wheel_has_what_it_promises_and_is_at_most_3_mb(wheel):
    assert wheel.name.startswith(f"dlslime-{dlslime.version()}-cp{sys.version_info[0]}")
    assert wheel.stat().st_size <= 3 << 20
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("dlslime/__init__.py", "dlslime/py.typed", "dlslime/_core.pyi",
                   "dlslime/share/cmake/dlslime/dlslimeConfig.cmake", "dlslime/lib/libdlslime.a",
                   "dlslime/include/slime/slime.h",
                   f"dlslime-{dlslime.version()}.data/scripts/dlslime"):
        assert wanted in names, wanted
    assert not [n for n in names if n.endswith((".pyx", ".pxi", ".pxd", ".c"))]


def test_the_wheel_works_where_nothing_else_is_installed(wheel, tmp_path):
    venv.create(tmp_path, with_pip=False)
    bare = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "LD_LIBRARY_PATH")}
    subprocess.run([sys.executable, "-m", "pip", "--python", tmp_path / "bin/python", "install", "-q",
                    "--disable-pip-version-check", "--no-index", "--no-deps", wheel],
                   check=True, env=bare)
    code = """if True:
        import dlslime, os
        a, b = dlslime.Endpoint(), dlslime.Endpoint()
        a.connect(b.export(), timeout=0); b.connect(a.export())
        assert b.write_imm(3).wait(5) == 0 and a.recv_imm().wait(5) == 3
        assert os.path.exists(dlslime.get_cmake_dir() + "/dlslimeConfig.cmake")
        print(dlslime.__file__)
    """
    done = subprocess.run([tmp_path / "bin/python", "-c", code], cwd=tmp_path, env=bare, check=True,
                          capture_output=True, text=True)
    assert done.stdout.startswith(str(tmp_path))
    said = subprocess.run([tmp_path / "bin/dlslime", "info"], env=bare, check=True, capture_output=True,
                          text=True).stdout
    assert dlslime.version() in said


def test_a_c_program_finds_the_library_in_the_package(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "app.c").write_text(
        "#include <slime/slime.h>\n#include <stdio.h>\n"
        "int main(void) { puts(slime_version()); return 0; }\n")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\nproject(app C)\nfind_package(dlslime REQUIRED)\n"
        "add_executable(app app.c)\ntarget_link_libraries(app PRIVATE dlslime::dlslime)\n")
    where = tmp_path / "site/dlslime/share/cmake/dlslime"
    for command in (["cmake", "-S", tmp_path, "-B", tmp_path / "b", f"-Ddlslime_DIR={where}"],
                    ["cmake", "--build", tmp_path / "b"]):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert subprocess.check_output([tmp_path / "b/app"], text=True).strip() == dlslime.version()
