# SPDX-License-Identifier: BSD-3-Clause
"""Help, usage errors, info and doctor of the dlslime program."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from cli import BIN, failed, run

SOURCE = Path(os.environ.get("DLSLIME_SOURCE", Path(__file__).parents[2]))
VERBS = ["info", "doctor", "perf", "serve", "get"]


def test_no_verb_shows_the_verbs_and_is_a_usage_error():
    done = run()
    assert done.returncode == 2
    assert all(f"\n  {verb} " in done.stdout for verb in VERBS)


@pytest.mark.parametrize("flag", ["--help", "-h", "help"])
def test_help_shows_the_verbs(flag):
    done = run(flag)
    assert done.returncode == 0
    assert all(f"\n  {verb} " in done.stdout for verb in VERBS)


def test_version_is_that_of_the_library():
    header = (SOURCE / "include/slime/base.h").read_text()
    numbers = re.findall(r"#define SLIME_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header)
    assert run("--version").stdout == f"dlslime {'.'.join(numbers)}\n"


def options_of(verb):
    done = run(verb, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("usage: dlslime " + verb)
    return set(re.findall(r"--[a-z][a-z-]*", done.stdout))


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_in_the_man_page_and_the_completion(verb):
    man = (SOURCE / "docs/man/dlslime.1").read_text().replace("\\-", "-")
    completion = (SOURCE / "cmd/dlslime/completion.bash").read_text()
    for option in options_of(verb):
        assert option in man, option
        assert option in completion, option


@pytest.mark.parametrize(
    "args",
    [
        ["frobnicate"],
        ["--frobnicate"],
        ["info", "--frobnicate"],
        ["info", "more"],
        ["info", "--json", "--env"],
        ["doctor", "--frobnicate"],
        ["doctor", "more"],
        ["serve"],
        ["serve", "--port", "x", "file"],
        ["serve", "--port", "65536", "file"],
        ["serve", "--port"],
        ["get"],
        ["get", ""],
        ["get", "a", "b", "c"],
        ["get", "--timeout", "x", "slime:a:1/00/b"],
        ["perf"],
        ["perf", "walk"],
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_status_2(args):
    done = run(*args)
    sentence = failed(done, status=2)
    assert done.stdout == ""
    assert "--help'" in sentence


def test_output_that_cannot_be_written_is_a_failure():
    with open("/dev/full", "w") as full:
        done = subprocess.run([BIN, "info"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "dlslime: cannot write to standard output\n"


def test_info_json_lists_every_transport_usable_or_with_a_reason():
    done = run("info", "--json")
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    info = json.loads(done.stdout)
    assert info["version"] == run("--version").stdout.split()[1]
    assert info["host"]["cpus"] >= 1 and info["host"]["memory"] > 0
    known = {d["transport"] for d in info["devices"]}
    assert {"loopback", "shm", "tcp", "rdma", "cuda_ipc", "ascend"} <= known
    for device in info["devices"]:
        assert device["usable"] == (device["status"] == 0)
        assert device["usable"] or device["reason"], device
    assert "loopback" in {d["transport"] for d in info["devices"] if d["usable"]}


def test_info_tells_people_the_same():
    devices = json.loads(run("info", "--json").stdout)["devices"]
    text = run("info").stdout
    for device in devices:
        word = "usable" if device["usable"] else "no"
        assert re.search(rf"^  {device['transport']} +{word}\b.*{re.escape(device['reason'])}$", text, re.M), text


def test_info_env_answers_without_starting_anything():
    done = run("info", "--env")
    assert done.returncode == 0 and not done.stderr
    assert re.search(r"^SLIME_LOG_LEVEL=$\n {4}.+ \(default: .+\)$", done.stdout, re.M), done.stdout
    done = run("info", "--env", env={**os.environ, "SLIME_LOG_LEVEL": "2"})
    assert "SLIME_LOG_LEVEL=2\n" in done.stdout


def test_doctor_gives_a_level_and_a_fix_for_each_thing():
    done = run("doctor", "--json")
    assert done.stdout.count("\n") == 1
    report = json.loads(done.stdout)
    by_level = {"ok": 0, "better": 0, "problem": 0}
    for check in report["checks"]:
        by_level[check["level"]] += 1
        assert check["name"] and check["found"], check
        assert (check["level"] == "ok") == (check["fix"] == ""), check
    assert [report["ok"], report["better"], report["problems"]] == list(by_level.values())
    names = {c["name"] for c in report["checks"]}
    assert {"cma", "yama", "memlock", "open files", "huge pages", "shm", "tcp", "ipv6", "clock", "cpus"} <= names
    assert done.returncode == (1 if report["problems"] else 0)


def test_doctor_moves_bytes_over_what_info_calls_usable():
    devices = json.loads(run("info", "--json").stdout)["devices"]
    checks = {c["name"]: c for c in json.loads(run("doctor", "--json").stdout)["checks"]}
    for device in devices:
        if device["usable"] and device["transport"] != "loopback":
            assert "moves bytes between two processes" in checks[device["transport"]]["found"]


def test_doctor_names_a_limit_that_it_finds_and_its_fix():
    done = subprocess.run(
        ["bash", "-c", 'ulimit -Sn 100 && exec "$0" doctor --json', BIN], capture_output=True, text=True, timeout=60
    )
    checks = {c["name"]: c for c in json.loads(done.stdout)["checks"]}
    assert checks["open files"]["level"] == "better"
    assert checks["open files"]["found"].startswith("100 files")
    assert "ulimit -n" in checks["open files"]["fix"]


def test_doctor_names_what_keeps_programs_from_the_best_transport():
    for value, there in (("tcp", True), ("", False)):
        done = run("doctor", "--json", env={**os.environ, "DLSLIME_TRANSPORT": value})
        checks = {c["name"]: c for c in json.loads(done.stdout)["checks"]}
        assert ("choice" in checks) == there
    done = run("doctor", "--pid")
    assert "wants a value" in failed(done, status=2)


def test_doctor_for_people_ends_with_the_sum():
    lines = run("doctor").stdout.splitlines()
    assert re.fullmatch(r"\d+ ok, \d+ could be better, \d+ problems?", lines[-1])
    for line in lines[:-2]:
        assert re.match(r"(ok|better|problem) +\w|  +fix: \w", line), line
