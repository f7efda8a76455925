# SPDX-License-Identifier: BSD-3-Clause
"""The package as pip builds it: small, complete, and working where there is nothing else.

One source distribution is made and unpacked, and every build is of that, in one build directory: so
the library is compiled once.
"""

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import textwrap
import venv
import zipfile

import pytest

import dlslime

SOURCE = os.environ.get("DLSLIME_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
PROGRAMS = ("dlslime", "nanoctrl", "dlslime-ctrl")
# What nobody's machine is without: libc, its libm and the loader.
EVERYWHERE = {"libc.so.6", "libm.so.6"}

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(m) for m in ("scikit_build_core", "Cython", "pip")),
    reason="scikit-build-core, cython and pip are needed: tools/venv makes a Python that has them")


def without_paths(**more):
    """The environment without what would lead to another copy of us."""
    hidden = ("PYTHONPATH", "LD_LIBRARY_PATH", "BUILD_RDMA", "BUILD_TCP", "BUILD_CTRL")
    return {**{k: v for k, v in os.environ.items() if k not in hidden}, **more}


def pip(*args, python=None, env=None, check=True, timeout=170):
    command = [sys.executable, "-m", "pip", *(["--python", python] if python else []), *args,
               "--disable-pip-version-check"]
    done = subprocess.run(command, env=env or without_paths(), capture_output=True, text=True,
                          timeout=timeout)
    if check:
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A directory with the unpacked source distribution in src."""
    where = tmp_path_factory.mktemp("wheel")
    made = subprocess.run(
        [sys.executable, "-c", "import sys, scikit_build_core.build as b; b.build_sdist(sys.argv[1])",
         where], cwd=SOURCE, env=without_paths(), capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    sdist, = where.glob("dlslime-*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(where)
    (where / sdist.name.removesuffix(".tar.gz")).rename(where / "src")
    return where


def build(work, out, **env):
    """Without isolation, so without the network."""
    pip("wheel", "-q", "--no-build-isolation", "--no-deps", "-w", work / out,
        f"--config-settings=build-dir={work}/build", work / "src", env=without_paths(**env))
    found, = (work / out).iterdir()
    return found


@pytest.fixture(scope="module")
def wheel(work):
    return build(work, "out")


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A Python that has the wheel and nothing else."""
    where = tmp_path_factory.mktemp("bare")
    venv.create(where, with_pip=False)
    pip("install", "-q", "--no-index", "--no-deps", wheel, python=where / "bin/python")
    return where


def run_bare(installed, *command, check=True, **env):
    """Run a command of INSTALLED where there is no other program, and nothing in the environment."""
    done = subprocess.run([installed / "bin" / command[0], *command[1:]], cwd=installed,
                          env={"PATH": str(installed / "bin"), "HOME": str(installed), **env},
                          capture_output=True, text=True, timeout=60)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_source_distribution_is_what_a_build_needs(work):
    names = {p.relative_to(work / "src").parts[0] for p in (work / "src").rglob("*")}
    assert {"CMakeLists.txt", "LICENSE", "README.md", "cmake", "cmd", "include", "python",
            "src"} <= names
    assert not names & {"build", "tests", ".ci", ".git"}
    sdist, = work.glob("dlslime-*.tar.gz")
    assert sdist.stat().st_size <= 2 << 20


def test_the_wheel_has_what_it_promises_and_is_at_most_3_mb(wheel):
    assert wheel.name.startswith(f"dlslime-{dlslime.version()}-cp{sys.version_info[0]}")
    assert wheel.stat().st_size <= 3 << 20
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("dlslime/__init__.py", "dlslime/py.typed", "dlslime/_core.pyi",
                   "dlslime/share/cmake/dlslime/dlslimeConfig.cmake", "dlslime/lib/libdlslime.a",
                   "dlslime/include/slime/slime.h", "nanoctrl/__init__.py",
                   *(f"dlslime-{dlslime.version()}.data/scripts/{name}" for name in PROGRAMS)):
        assert wanted in names, wanted
    assert not [n for n in names if n.endswith((".pyx", ".pxi", ".pxd", ".c"))]
    metadata = zipfile.ZipFile(wheel).read(f"dlslime-{dlslime.version()}.dist-info/METADATA").decode()
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    assert [r for r in required if "extra ==" not in r] == ["Requires-Dist: httpx>=0.24"]


def test_no_library_of_the_system_is_needed(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    own = {p.name for p in (tmp_path / "dlslime/lib").iterdir()}
    looked_at = 0
    for file in tmp_path.rglob("*"):
        if not file.is_file() or file.read_bytes()[:4] != b"\x7fELF":
            continue
        said = subprocess.check_output(["readelf", "-d", file], text=True)
        needed = {line.split("[")[1].rstrip("]") for line in said.splitlines() if "(NEEDED)" in line}
        allowed = EVERYWHERE | ({"libpthread.so.0"} | own if ".so" in file.name else set())
        assert needed <= allowed, f"{file.name} needs {needed - allowed}"
        looked_at += 1
    assert looked_at >= 1 + len(PROGRAMS)


def test_the_package_works_where_nothing_else_is_installed(installed):
    done = run_bare(installed, "python", "-c", textwrap.dedent("""
        import dlslime, os
        a, b = dlslime.Endpoint(), dlslime.Endpoint()
        a.connect(b.export(), timeout=0); b.connect(a.export())
        assert b.write_imm(3).wait(5) == 0 and a.recv_imm().wait(5) == 3
        assert os.path.exists(dlslime.get_cmake_dir() + "/dlslimeConfig.cmake")
        assert dlslime.RDMAEndpoint and "NanoCtrlClient" in dir(__import__("nanoctrl"))
        print(dlslime.__file__)
    """))
    assert done.stdout.startswith(str(installed))


def test_the_programs_run_where_nothing_else_is_installed(installed):
    for name in PROGRAMS:
        assert run_bare(installed, name, "--version").stdout == f"{name} {dlslime.version()}\n"
    assert dlslime.version() in run_bare(installed, "dlslime", "info").stdout


@pytest.mark.parametrize("name, greeting", [("nanoctrl", "NanoCtrl"),
                                            ("dlslime-ctrl", "DLSlime control plane")])
def test_the_daemon_of_the_package_serves_its_agents(installed, tmp_path, name, greeting):
    env = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    daemon = subprocess.Popen([installed / "bin" / name, "server", "--port", "0", "--host", "127.0.0.1",
                               "--db", tmp_path / "state.db"], env=env, stdout=subprocess.PIPE,
                              text=True)
    try:
        url = next(word for word in daemon.stdout.readline().split() if word.startswith("http://"))
        run_bare(installed, "python", "-c", textwrap.dedent("""
            import sys, urllib.request, dlslime
            assert urllib.request.urlopen(sys.argv[1]).read().decode() == sys.argv[2]
            memory = dlslime.alloc(64)
            with dlslime.PeerAgent(sys.argv[1], alias="a") as a, \\
                    dlslime.PeerAgent(sys.argv[1], alias="b") as b:
                for agent in (a, b):
                    agent.register_memory_region("m", memory.addr, 0, 64)
                a.connect_to("b").wait(20)
                assert a.read("b", ("m", 0, 8, 8)).wait() == 0
        """), url, f"{greeting} Server Running")
    finally:
        daemon.terminate()
        daemon.wait()
        daemon.stdout.close()


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


def test_an_editable_install_runs_from_the_sources(work, wheel, tmp_path):
    # What the back end needs at run time is seen from there too.
    venv.create(tmp_path, with_pip=False, system_site_packages=False)
    pip("install", "-q", "--no-build-isolation", "--no-deps",
        f"--config-settings=build-dir={work}/build", "-e", work / "src",
        python=tmp_path / "bin/python",
        env=without_paths(PYTHONPATH=os.pathsep.join(p for p in sys.path if "site-packages" in p)))
    said = run_bare(tmp_path, "python", "-c", textwrap.dedent("""
        import os, dlslime, nanoctrl
        assert os.path.exists(dlslime.get_cmake_dir() + "/dlslimeConfig.cmake")
        a, b = dlslime.RDMAEndpoint(), dlslime.RDMAEndpoint()
        print(dlslime.__file__)
    """)).stdout
    assert said.startswith(str(work / "src/python/dlslime"))
    for name in PROGRAMS:
        assert dlslime.version() in run_bare(tmp_path, name, "--version").stdout


def test_switches_come_from_the_environment(work, wheel, tmp_path):
    """And commands that were left out say so, and what to do."""
    small = build(work, "small", BUILD_RDMA="OFF", BUILD_CTRL="off")
    zipfile.ZipFile(small).extractall(tmp_path)
    said = subprocess.check_output(
        [sys.executable, "-c", "import dlslime; c = dlslime._slime_c; print(c._BUILD_RDMA, c._BUILD_TCP);"
         "print(dlslime.available_nic()); dlslime.PeerAgent"],
        env=without_paths(PYTHONPATH=str(tmp_path)), text=True, stderr=subprocess.STDOUT)
    assert said.startswith("False True\n") and "['slime0']" in said
    for name in PROGRAMS[1:]:
        program, = tmp_path.glob(f"*/scripts/{name}")
        program.chmod(0o755)
        done = subprocess.run([program, "start"], capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.endswith("is without it: it was made with BUILD_CTRL=OFF\n")


def test_commands_without_their_packages_name_them(work, tmp_path):
    """pip says nothing of what a build left out: so whoever misses it is told."""
    configure = ["cmake", "-GNinja", "-S", work / "src", "-B", tmp_path / "b", "-DSKBUILD=2",
                 "-DSKBUILD_SCRIPTS_DIR=bin", "-DBUILD_PYTHON=ON",
                 f"-DPython_EXECUTABLE={sys.executable}"]
    build = ["cmake", "--build", tmp_path / "b", "--target", "dlslime-python-nanoctrl",
             "dlslime-python-dlslime-ctrl"]
    for command in (configure, build):
        done = subprocess.run(command, env=without_paths(PKG_CONFIG_PATH="", PKG_CONFIG_LIBDIR="/none"),
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    for name in PROGRAMS[1:]:
        done = subprocess.run([name, "start"], executable=tmp_path / "b/python/bin" / name,
                              capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.startswith(f"{name}: this build of the package dlslime is without it: ")
        assert "apt-get install libevent-dev libjansson-dev libsqlite3-dev libhiredis-dev" in done.stderr


def only(tmp_path, *programs):
    """A PATH with these programs and no others."""
    for name in programs:
        (tmp_path / name).symlink_to(shutil.which(name))
    return str(tmp_path)


def test_a_machine_without_a_compiler_is_told_what_is_missing(work, tmp_path):
    done = pip("wheel", "-q", "--no-build-isolation", "--no-deps", "-w", tmp_path / "out",
               f"--config-settings=build-dir={tmp_path}/build", work / "src", check=False,
               env={"PATH": only(tmp_path, "cmake", "ninja"), "HOME": str(tmp_path)})
    assert done.returncode
    assert "no C compiler is found" in done.stderr and "apt-get install gcc libc6-dev" in done.stderr


def test_a_python_without_headers_is_told_what_is_missing(work, tmp_path):
    done = pip("wheel", "-q", "--no-build-isolation", "--no-deps", "-w", tmp_path / "out",
               f"--config-settings=build-dir={tmp_path}/build",
               "--config-settings=cmake.define.Python_INCLUDE_DIR=/nonexistent", work / "src",
               check=False)
    assert done.returncode
    assert "the headers of" in done.stderr and "apt-get install python3-dev" in done.stderr


def test_the_sources_were_left_as_they_were(work):
    """A build writes nothing beside what it is made from."""
    assert not [p for p in pathlib.Path(work / "src").rglob("*") if p.suffix in (".so", ".o")]
