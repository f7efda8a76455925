# SPDX-License-Identifier: BSD-3-Clause
"""The nanoctrl program: its verbs, their words and exit codes, what they leave, its log."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import socket
import subprocess
import termios
import time

import pytest
from nanoctrl_daemon import BIN, DEADLINE_S, Daemon, free_port, make_certificates, wait_until

ENVIRONMENT = {
    k: v for k, v in os.environ.items() if not k.startswith(("NANOCTRL_", "DLSLIME_CTRL_", "XDG_RUNTIME_DIR"))
}


class Cli:
    """The program with a runtime directory of its own; what it started is stopped in the end."""

    def __init__(self, directory, name="nanoctrl"):
        self.name, self.dir = name, directory / "run"
        self.env = {**ENVIRONMENT, f"{name.upper().replace('-', '_')}_RUNTIME_DIR": str(self.dir)}

    def __call__(self, *args, **kwargs):
        return subprocess.run(
            [BIN / self.name, *map(str, args)],
            **{"env": self.env, "capture_output": True, "text": True, "timeout": DEADLINE_S, **kwargs},
        )

    def start(self, *args):
        done = self("start", "--port", "0", "--db", ":memory:", *args)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done

    def meta(self):
        return json.loads((self.dir / f"{self.name}.meta.json").read_text())

    def pid(self):
        return int((self.dir / f"{self.name}.pid").read_text())


@pytest.fixture(params=["nanoctrl", "dlslime-ctrl"])
def cli(request, tmp_path):
    cli = Cli(tmp_path, request.param)
    yield cli
    cli("stop", "--force", "--timeout", "5")


@pytest.fixture
def one(tmp_path):
    cli = Cli(tmp_path)
    yield cli
    cli("stop", "--force", "--timeout", "5")


def runs(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


# --- start, status, stop


def test_it_starts_tells_and_stops(cli):
    name = cli.name
    done = cli.start()
    port = cli.meta()["address"].rsplit(":", 1)[1]
    assert done.stdout == (
        f"Local node IP: 127.0.0.1\n\n{name} started (pid={cli.pid()})\n"
        f"address: http://127.0.0.1:{port}\nlog: {cli.dir}/{name}.log\n"
    )
    assert cli.meta()["pid"] == cli.pid() and cli.meta()["cmd"][:2] == [name, "server"]
    assert cli.meta()["started_at"] == pytest.approx(time.time(), abs=DEADLINE_S)
    assert cli.dir.stat().st_mode & 0o777 == 0o700

    done = cli("status")
    assert done.returncode == 0
    assert done.stdout == (
        f"pid: {cli.pid()}\nprocess: running\naddress: http://127.0.0.1:{port}\nhealth: ok\n"
        f"log: {cli.dir}/{name}.log\n"
    )

    pid = cli.pid()
    done = cli("start")
    assert (done.returncode, done.stdout) == (0, f"{name} is already running (pid={pid})\n")

    done = cli("stop")
    assert (done.returncode, done.stdout) == (0, f"{name} stopped (pid={pid})\n")
    assert not runs(pid) and not (cli.dir / f"{name}.pid").exists()
    assert "stopped" in (cli.dir / f"{name}.log").read_text()


def test_obs_and_top_find_what_start_has_started(cli):
    cli.start()
    address = cli.meta()["address"]
    assert cli("obs", "status").stdout.startswith(f"Daemon: {address} ")
    assert cli("top", "--once").stdout.startswith("0 agents")
    assert "no Redis at 127.0.0.1:1 " in cli("obs", "status", "--redis-url", "redis://127.0.0.1:1").stderr
    assert cli("stop").returncode == 0
    assert address not in cli("obs", "status").stdout


def test_stop_without_a_daemon_is_fine(cli):
    done = cli("stop")
    assert (done.returncode, done.stdout) == (0, f"{cli.name} is not running\n")


def test_status_without_a_daemon(tmp_path):
    where = f"http://127.0.0.1:{free_port()}"
    done = Cli(tmp_path)("status", "--address", where)
    assert done.returncode == 1
    assert done.stdout == "nanoctrl is not running (no pid file)\nhealth: down (Connection refused (os error 111))\n"
    done = Cli(tmp_path, "dlslime-ctrl")("status", "--address", where)
    assert done.returncode == 1
    assert done.stdout == (
        f"dlslime-ctrl is not running\naddress: {where}\nhealth: down (Connection refused (os error 111))\n"
    )


def test_status_of_a_daemon_that_somebody_else_runs(tmp_path):
    with Daemon(tmp_path) as d:
        done = Cli(tmp_path)("status", "--address", d.url)
        assert (done.returncode, done.stdout) == (1, "nanoctrl is not running (no pid file)\nhealth: ok\n")
        done = Cli(tmp_path, "dlslime-ctrl")("status", "--address", d.url)
        assert done.returncode == 0
        assert done.stdout == (
            f"dlslime-ctrl is running (managed externally — no pid file)\naddress: {d.url}\nhealth: ok\n"
        )
        done = Cli(tmp_path)("start", "--port", d.port)
        assert done.returncode == 0
        assert done.stdout == (
            f"nanoctrl appears to be already running at {d.url} (no pid file managed by this CLI)\n"
        )


def test_what_a_killed_daemon_left_is_cleaned(one):
    one.start()
    pid = one.pid()
    os.kill(pid, signal.SIGKILL)
    wait_until("its end", lambda: not runs(pid))
    done = one("status")
    assert done.returncode == 1 and f"pid: {pid}\nprocess: not running\n" in done.stdout
    assert not (one.dir / "nanoctrl.pid").exists()

    (one.dir / "nanoctrl.pid").write_text(str(pid))
    done = one("stop")
    assert (done.returncode, done.stdout) == (0, "nanoctrl is not running (stale pid file cleaned)\n")
    assert not (one.dir / "nanoctrl.pid").exists()


def test_a_pid_file_alone_is_no_reason_to_kill(one):
    one.dir.mkdir(0o700)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (one.dir / "nanoctrl.pid").write_text(str(stranger.pid))
        assert "stale" in one("stop", "--force").stdout
        assert stranger.poll() is None
        stranger.kill()


def later_process(start_time):
    """A process that did not start in that very tick of the kernel's clock, which has 100 in a second."""
    while True:
        process = subprocess.Popen(["sleep", "60"])
        fields = open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()
        if int(fields[19]) != start_time:
            return process
        process.kill()
        process.wait()


def test_a_process_that_got_the_old_number_is_left_alone(one):
    one.start()
    os.kill(one.pid(), signal.SIGKILL)
    with later_process(one.meta()["start_time"]) as stranger:
        meta = {**one.meta(), "pid": stranger.pid}
        (one.dir / "nanoctrl.meta.json").write_text(json.dumps(meta))
        (one.dir / "nanoctrl.pid").write_text(str(stranger.pid))
        assert "stale" in one("stop").stdout
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "1", "99999999999999999999", "\n"])
def test_a_pid_file_of_nonsense_is_no_daemon(one, text):
    one.dir.mkdir(0o700)
    (one.dir / "nanoctrl.pid").write_text(text)
    assert one("stop").stdout == "nanoctrl is not running\n"
    one.start()
    assert runs(one.pid())


def test_a_start_that_fails_says_why_and_leaves_nothing(one, tmp_path):
    done = one("start", "--port", "0", "--db", tmp_path / "no" / "such" / "place.db")
    assert done.returncode == 1
    assert "recent log:" in done.stdout and "place.db" in done.stdout
    assert "failed to start (exit status 1)" in done.stderr
    assert not (one.dir / "nanoctrl.pid").exists()

    with Daemon(tmp_path) as d, socket.create_server(("127.0.0.1", 0)) as deaf:
        assert d.port
        done = one("start", "--port", deaf.getsockname()[1], "--db", ":memory:")
        assert done.returncode == 1 and "Address already in use" in done.stdout


def test_stop_without_force_waits_and_with_force_kills(one):
    one.start()
    pid = one.pid()
    os.kill(pid, signal.SIGSTOP)
    done = one("stop", "--timeout", "0.2")
    assert done.returncode == 1 and "did not stop within 0.2s; rerun with --force" in done.stderr
    done = one("stop", "--timeout", "0.2", "--force")
    assert (done.returncode, done.stdout) == (0, f"nanoctrl killed (pid={pid})\n")
    assert not runs(pid)


def test_two_starts_at_once_start_one(one):
    one.dir.mkdir(0o700)
    command = [BIN / "nanoctrl", "start", "--port", "0", "--db", ":memory:"]
    both = [subprocess.Popen(command, env=one.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in "12"]
    said = [p.communicate(timeout=DEADLINE_S)[0] for p in both]
    assert sum("started (pid=" in text for text in said) == 1, said
    assert sum("already running" in text or "another start" in text for text in said) == 1, said


def test_the_runtime_directory_must_be_ours(one, tmp_path):
    (tmp_path / "elsewhere").mkdir(0o700)
    one.dir.symlink_to(tmp_path / "elsewhere")
    done = one("start", "--port", "0", "--db", ":memory:")
    assert done.returncode == 1 and "it is a link" in done.stderr
    one.dir.unlink()
    one.dir.mkdir()
    one.dir.chmod(0o777)
    done = one("start", "--port", "0", "--db", ":memory:")
    assert done.returncode == 1 and "others may write" in done.stderr
    if os.getuid() == 0:
        one.dir.chmod(0o700)
        os.chown(one.dir, 12345, 12345)
        done = one("start", "--port", "0", "--db", ":memory:")
        assert done.returncode == 1 and "belongs to another user" in done.stderr
        os.chown(one.dir, 0, 0)


def test_the_log_is_never_a_link(one, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    one.dir.mkdir(0o700)
    (one.dir / "nanoctrl.log").symlink_to(victim)
    assert one("start", "--port", "0", "--db", ":memory:").returncode == 1
    assert victim.read_text() == "precious"


def test_a_daemon_with_tls_in_the_background_is_known_to_be_well(one, tmp_path):
    where = make_certificates(tmp_path)
    one.start("--tls-cert", where / "server.pem", "--tls-key", where / "server.key")
    done = one("status")
    assert done.returncode == 0 and "health: ok" in done.stdout and "https://" in done.stdout


# --- the command line


def test_version_and_help(cli):
    assert re.fullmatch(rf"{cli.name} \d+\.\d+\.\d+\n", cli("--version").stdout)
    done = cli("--help")
    assert done.returncode == 0 and "--redis-url" in done.stdout
    for verb in ("start", "status", "stop", "server"):
        assert verb in done.stdout
        usage = cli(verb, "--help")
        assert usage.returncode == 0 and usage.stdout.startswith(f"usage: {cli.name} {verb} ")


@pytest.mark.parametrize(
    "args, why",
    [
        (["frobnicate"], "no verb 'frobnicate'"),
        (["--frobnicate"], "no option '--frobnicate'"),
        (["--port"], "needs a value"),
        (["--port", "65536"], "--port is a number"),
        (["--port", "-1"], "--port is a number"),
        (["--port", "1x"], "--port is a number"),
        (["--body-limit", "0"], "--body-limit is a number"),
        (["--db", ""], "--db is empty"),
        (["--db", "x", "--redis-url", "redis://y"], "one place only"),
        (["--tls-cert", "x"], "go together"),
        (["--tls-client-ca", "x"], "--tls-client-ca needs"),
        (["--log-level", "loud"], "--log-level is"),
        (["server", "surplus"], "one word too many"),
        (["start", "--wait", "nan"], "--wait is a number of seconds"),
        (["stop", "--port", "1"], "no option '--port'"),
        (["status", "--force"], "no option '--force'"),
        (["obs", "status", "--frobnicate"], "no option '--frobnicate'"),
        (["obs", "status", "--interval", "1"], "no option '--interval'"),
        (["obs", "peers", "--scope"], "'--scope' needs a value"),
        (["top", "-x"], "no option '-x'"),
    ],
)
def test_a_wrong_command_line_is_told_so(one, args, why):
    done = one(*args)
    assert done.returncode == 2 and why in done.stderr and "--help" in done.stderr
    assert done.stderr.startswith("nanoctrl: ")


@pytest.mark.parametrize(
    "args, why",
    [
        (["--host", "no.such.host.invalid"], "no.such.host.invalid"),
        (["--listen", "nonsense"], "no address to listen on"),
        (["--listen", "1.2.3.4:99999"], "no address to listen on"),
        (["--listen", "::1:80"], "no address to listen on"),
        (["--listen", "unix:" + "x" * 200], "must have 1 to 107 bytes"),
        (["--listen", "unix:/no/such/dir/sock"], "No such file"),
        (["--token-file", "/no/such/file"], "/no/such/file"),
        (["--tls-cert", "/no/such/file", "--tls-key", "/no/such/file"], "cannot use the certificate"),
        (["--log-file", "/no/such/dir/log"], "cannot write the log"),
        (["--log-file", "/tmp"], "cannot write the log"),
    ],
)
def test_a_daemon_that_cannot_run_says_why(one, args, why):
    done = one("--port", "0", "--db", ":memory:", *args)
    assert done.returncode == 1 and why in done.stderr, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "text, why",
    [
        ("", "is not JSON"),
        ("{}", 'no list "tokens"'),
        ('{"tokens":[]}', 'no list "tokens"'),
        ('{"tokens":[5]}', 'it has no "name"'),
        ('{"tokens":[{"name":"x","rights":["read"]}]}', 'one of "token" and "sha256"'),
        ('{"tokens":[{"name":"x","token":"short","rights":["read"]}]}', "less than 16"),
        ('{"tokens":[{"name":"x","sha256":"abc","rights":["read"]}]}', "64 hexadecimal"),
        ('{"tokens":[{"name":"x","token":"0123456789abcdef"}]}', 'no "rights"'),
        ('{"tokens":[{"name":"x","token":"0123456789abcdef","rights":["root"]}]}', "a right is none of"),
        ('{"tokens":[{"name":"x","token":"0123456789abcdef","rights":["read"],"scopes":[1]}]}', '"scopes"'),
        ('{"tokens":[{"name":"x","token":"0123456789abcdef","rights":["read"],"scopes":"a"}]}', '"scopes"'),
    ],
)
def test_a_token_file_that_is_wrong_is_not_half_used(one, tmp_path, text, why):
    (tmp_path / "tokens.json").write_text(text)
    done = one("--port", "0", "--db", ":memory:", "--token-file", tmp_path / "tokens.json")
    assert done.returncode == 1 and why in done.stderr, done.stderr


def test_a_key_that_belongs_to_another_certificate_is_refused(one, tmp_path):
    where = make_certificates(tmp_path)
    done = one("--port", "0", "--db", ":memory:", "--tls-cert", where / "server.pem", "--tls-key", where / "client.key")
    assert done.returncode == 1 and "client.key" in done.stderr


def test_a_key_that_wants_a_passphrase_is_refused_and_nobody_is_asked(one, tmp_path):
    where = make_certificates(tmp_path)
    encrypt = ["openssl", "pkey", "-in", "server.key", "-aes256", "-passout", "pass:secret", "-out", "locked.key"]
    subprocess.run(encrypt, cwd=where, check=True, capture_output=True)
    screen, terminal = pty.openpty()
    with contextlib.closing(os.fdopen(screen, "rb", 0)), contextlib.closing(os.fdopen(terminal, "rb", 0)) as stdin:
        done = one(
            *("--port", "0", "--db", ":memory:", "--tls-cert", where / "server.pem", "--tls-key", where / "locked.key"),
            stdin=stdin,
            preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)),  # it is its terminal
        )
    assert done.returncode == 1 and "locked.key' is encrypted" in done.stderr, done.stderr


def test_a_flag_goes_before_the_environment(tmp_path):
    with Daemon(tmp_path, env={"NANOCTRL_REDIS_URL": "redis://127.0.0.1:1"}) as d:
        wait_until("a word of it", lambda: any("its state is in sqlite" in line for line in d.lines()))
    with Daemon(tmp_path, db=None, env={"NANOCTRL_DB": str(tmp_path / "x.db")}):
        assert (tmp_path / "x.db").exists()
    with Daemon(tmp_path, db=None, env={"HOME": str(tmp_path / "home"), "XDG_STATE_HOME": ""}):
        assert (tmp_path / "home/.local/state/nanoctrl/nanoctrl.db").exists()
    with Daemon(tmp_path, db=None, name="dlslime-ctrl", env={"STATE_DIRECTORY": str(tmp_path / "state")}):
        assert (tmp_path / "state/dlslime-ctrl.db").exists()


def test_each_name_has_its_own_root_body(tmp_path):
    with Daemon(tmp_path, name="dlslime-ctrl") as d:
        assert d.get("/").body == b"DLSlime control plane Server Running"


# --- the log, and who supervises


def requests_in(path):
    return [line for line in path.read_text().splitlines() if 'msg="request"' in line]


def test_there_is_a_line_for_each_request(tmp_path):
    log = tmp_path / "log"
    with Daemon(tmp_path, "--log-file", log) as d:
        d.post("/register", {"entity_id": "x", "kind": "k"})
        d.get("/no/such?a=b")
        lines = wait_until("two lines", lambda: len(requests_in(log)) == 2 and requests_in(log))
    pattern = (
        r'time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=info msg="request" method=(\w+) path="(.*)"'
        r" status=(\d+) bytes=(\d+) us=\d+ peer=127\.0\.0\.1"
    )
    assert re.fullmatch(pattern, lines[0]).groups() == ("POST", "/register", "200", "68")
    assert re.fullmatch(pattern, lines[1]).groups() == ("GET", "/no/such?a=b", "404", "0")


def test_nothing_in_a_request_forges_a_line(tmp_path):
    log = tmp_path / "log"
    with Daemon(tmp_path, "--log-file", log) as d:
        d.raw(b'GET /"%0a\\ level=error HTTP/1.1\r\nHost: x\r\n\r\n')
        d.get('/"\\%0aforged')
        wait_until("a line", lambda: requests_in(log))
    assert all(line.startswith("time=") for line in log.read_text().splitlines())
    assert all(line.count('"') == 4 for line in requests_in(log))


def test_levels_leave_out_what_matters_less(tmp_path):
    log = tmp_path / "log"
    for args, env in ((["--log-level", "warn"], {}), ([], {"NANOCTRL_RUST_LOG": "nanoctrl=error,hyper=warn"})):
        with Daemon(tmp_path, "--log-file", log, *args, env=env) as d:
            d.get("/")
            # What strangers send is no error of ours, whatever its status.
            assert d.raw(b"\x16\x03\x01\x02\r\n\r\n").startswith(b"HTTP/1.1 501 ")
            assert d.raw(b"GET / HTTP/2.0\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 505 ")
            assert d.stop() == 0
        assert log.read_text() == ""


def test_sighup_goes_on_in_a_new_file(tmp_path):
    log, old = tmp_path / "log", tmp_path / "old"
    with Daemon(tmp_path, "--log-file", log) as d:
        d.get("/before")
        log.rename(old)
        d.signal(signal.SIGHUP)
        wait_until("the new file", log.exists)
        d.get("/after")
        wait_until("its line", lambda: any("/after" in line for line in requests_in(log)))
    assert any("/before" in line for line in requests_in(old))


def test_a_supervisor_is_told(tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(path))
        s.settimeout(DEADLINE_S)
        with Daemon(tmp_path, env={"NOTIFY_SOCKET": str(path)}) as d:
            assert s.recv(100) == b"READY=1"
            d.signal(signal.SIGTERM)
            assert s.recv(100) == b"STOPPING=1"
            assert d.popen.wait(DEADLINE_S) == 0


def test_who_listens_to_strangers_is_warned(tmp_path):
    with Daemon(tmp_path, "--host", "0.0.0.0") as d:
        assert any("everybody who reaches" in line for line in d.lines())
    with Daemon(tmp_path / "..", "--host", "127.0.0.1") as d:
        assert d.stop() == 0


def test_it_is_ready_at_once(tmp_path):
    begin = time.monotonic()
    with Daemon(tmp_path):
        took = time.monotonic() - begin
    assert took < (5 if os.environ.get("DLSLIME_SANITIZE") else 1)
