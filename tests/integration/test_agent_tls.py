# SPDX-License-Identifier: BSD-3-Clause
"""Agents and a nanoctrl that speaks TLS: who is trusted, who is not, and what is said of it."""

import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from agents import BIN, Daemon, Tool
from nanoctrl_daemon import make_certificates

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def openssl(where, *args):
    done = subprocess.run(["openssl", *args], cwd=where, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def certificate(where, name, days=2, subject="DNS:localhost,IP:127.0.0.1", ca="ca"):
    """NAME.pem and NAME.key, signed by CA; of DAYS, which may be over."""
    (where / "ext").write_text(f"subjectAltName={subject}")
    openssl(where, "req", *KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    openssl(
        where, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key",
        "-CAcreateserial", "-days", str(days), "-extfile", "ext", "-out", f"{name}.pem",
    )


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    """An authority, a server's and a client's certificate; and what nobody should trust."""
    directory = make_certificates(tmp_path_factory.mktemp("certificates"))
    certificate(directory, "expired", days=-1)
    certificate(directory, "elsewhere", subject="DNS:elsewhere.example,IP:192.0.2.1")
    openssl(directory, "req", "-x509", *KEY, "-keyout", "other.key", "-out", "other.pem", "-days", "2",
            "-subj", "/CN=another ca")
    certificate(directory, "stranger", ca="other")
    return directory


def daemon(where, name="server", client_ca=None, **kwargs):
    args = ["--tls-cert", where / f"{name}.pem", "--tls-key", where / f"{name}.key"]
    return Daemon(args=[*args, *(["--tls-client-ca", where / client_ca] if client_ca else [])], **kwargs)


def refused(url, *certificates, **popen):
    """With what an agent is not made."""
    with Tool(url, *certificates, **popen) as tool:
        answer = tool.ask("agent", 0, "a", "-", 0)
        word, name, text = answer.split(" ", 2)
        assert word == "error", answer
        return name, text


def two(a, b):
    """A reads by name what B publishes."""
    a.agent(0, "a", seed=1)
    b.agent(0, "b", seed=2)
    b.ok("publish", 0, "kv")
    a.expect(0, "b", "kv", seed=2)


def test_names_are_found_over_tls(where):
    with daemon(where) as ctrl:
        assert ctrl.url.startswith("https://")
        with Tool(ctrl.url, where / "ca.pem") as a, Tool(ctrl.url, where / "ca.pem") as b:
            two(a, b)
            for i in range(200):  # answers of more than one record of TLS
                b.ok("publish", 0, f"{i}-" + "x" * 400)
            assert a.ok("regions", 0, "b").split()[1] == "201"


def test_a_host_name_is_looked_up_and_checked(where):
    with daemon(where) as ctrl, Tool(f"https://localhost:{ctrl.port}", where / "ca.pem") as a:
        a.agent(0, "a")


def test_the_environment_says_whom_to_trust_and_what_to_show(where):
    env = {
        **os.environ,
        "DLSLIME_CTRL_CA_FILE": str(where / "ca.pem"),
        "DLSLIME_CTRL_CERT_FILE": str(where / "client.pem"),
        "DLSLIME_CTRL_KEY_FILE": str(where / "client.key"),
    }
    with daemon(where, client_ca="ca.pem") as ctrl:
        with Tool(ctrl.url, env=env) as a, Tool(ctrl.url, env=env) as b:
            two(a, b)
        done = subprocess.run([BIN / "dlslime", "peers", "--ctrl", ctrl.url], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    with Daemon() as plain, Tool(plain.url, env=env) as a:  # where there is no TLS it means nothing
        a.agent(0, "a")


def test_verbs_take_the_files_as_options(where):
    with daemon(where, client_ca="ca.pem") as ctrl:
        files = ["--ca", where / "ca.pem", "--cert", where / "client.pem", "--key", where / "client.key"]
        for verb in (["peers"], ["resources"], ["links"]):
            done = subprocess.run([BIN / "dlslime", *verb, "--ctrl", ctrl.url, *files], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        done = subprocess.run([BIN / "dlslime", "peers", "--ctrl", ctrl.url, *files[:2]], capture_output=True, text=True)
        assert done.returncode == 1 and "wants a client certificate" in done.stderr


@pytest.mark.parametrize(
    "server, ca, sentence",
    [
        ("server", "-", "an authority that is not trusted here"),
        ("server", "other.pem", "an authority that is not trusted here"),
        ("stranger", "ca.pem", "an authority that is not trusted here"),
        ("expired", "ca.pem", "has expired"),
        ("elsewhere", "ca.pem", "for another host"),
    ],
)
def test_a_server_that_is_not_trusted_gets_nothing(where, server, ca, sentence):
    with daemon(where, name=server) as ctrl:
        name, text = refused(ctrl.url, ca if ca == "-" else where / ca)
        assert name == "EACCES" and sentence in text and f"127.0.0.1:{ctrl.port}" in text
        if server == "elsewhere":
            assert "for another host" in refused(f"https://localhost:{ctrl.port}", where / ca)[1]


def test_a_daemon_that_wants_a_client_certificate_gets_one(where):
    with daemon(where, client_ca="ca.pem") as ctrl:
        mine = [where / "ca.pem", where / "client.pem", where / "client.key"]
        with Tool(ctrl.url, *mine) as a, Tool(ctrl.url, *mine) as b:
            two(a, b)
        name, text = refused(ctrl.url, where / "ca.pem")
        assert name == "EACCES" and "wants a client certificate" in text
        name, text = refused(ctrl.url, where / "ca.pem", where / "stranger.pem", where / "stranger.key")
        assert name == "EACCES" and "does not take our client certificate" in text


def test_files_that_are_not_what_they_should_be_are_named(where):
    (where / "rubbish").write_text("rubbish")
    url = "https://127.0.0.1:1"
    for ca, why in (("/nowhere/ca.pem", "No such file"), (where / "rubbish", "no ")):
        name, text = refused(url, ca)
        assert name == "EINVAL" and str(ca) in text and f": {why}" in text and "error:" not in text
    name, text = refused(url, where / "ca.pem", where / "rubbish", where / "client.key")
    assert name == "EINVAL" and "cannot use the certificate" in text
    name, text = refused(url, where / "ca.pem", where / "client.pem", where / "server.key")
    assert name == "EINVAL" and "server.key" in text
    openssl(where, "pkey", "-in", "client.key", "-aes256", "-passout", "pass:secret", "-out", "locked.key")
    name, text = refused(url, where / "ca.pem", where / "client.pem", where / "locked.key")
    assert name == "EINVAL" and "locked.key" in text and "passphrase" in text
    name, text = refused(url, where / "ca.pem", where / "client.pem", "-")
    assert name == "EINVAL" and "goes with a key" in text
    name, text = refused("http://127.0.0.1:1", where / "ca.pem")
    assert name == "EINVAL" and "is not https" in text


def test_tls_and_none_of_it_do_not_meet(where):
    with Daemon() as plain:
        name, text = refused(f"https://127.0.0.1:{plain.port}", where / "ca.pem")
        assert name == "EPROTO" and "does not speak TLS" in text
    with daemon(where) as ctrl:
        name, text = refused(f"http://127.0.0.1:{ctrl.port}")
        assert name in ("EPROTO", "ECONNREFUSED") and ("HTTP" in text or "hung up" in text)


def test_who_hangs_up_within_the_handshake_is_said_to(where):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up():
            while True:
                try:
                    guest, _ = listener.accept()
                except OSError:
                    return
                guest.recv(10)
                guest.close()

        threading.Thread(target=hang_up, daemon=True).start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        name, text = refused(url, where / "ca.pem")
        assert name == "ECONNREFUSED" and "hung up" in text
        listener.shutdown(socket.SHUT_RDWR)


def test_a_daemon_that_comes_back_is_met_again(where):
    with daemon(where) as ctrl:
        mine = [ctrl.url, where / "ca.pem"]
        with Tool(*mine) as a, Tool(*mine) as b:
            two(a, b)
            ctrl.kill()
            a.expect(0, "b", "kv", seed=2)  # the data path does not know of it
            certificate(where, "renewed")
            with daemon(where, name="renewed", port=ctrl.port):
                b.ok("publish", 0, "more")
                a.expect(0, "b", "more", seed=2)
            with daemon(where, name="stranger", port=ctrl.port):  # somebody in its place
                assert b.ask("publish", 0, "evil").startswith("error EACCES")
            with daemon(where, port=ctrl.port):  # which knows nobody, as the first one
                b.ok("publish", 0, "last")
                with Tool(*mine) as c:
                    c.agent(0, "c", seed=3)
                    c.expect(0, "b", "more", seed=2)


def test_openssl_is_loaded_when_it_is_needed(where):
    def maps(tool):
        return Path(f"/proc/{tool.pid}/maps").read_text()

    library = next(BIN.parent.glob("lib/libdlslime-agent.so*"))
    needed = subprocess.run(["readelf", "-d", library], capture_output=True, text=True).stdout
    assert "libevent" in needed and "libssl" not in needed and "libcrypto" not in needed
    with Daemon() as plain, Tool(plain.url) as a:
        a.agent(0, "a")
        assert "libssl" not in maps(a)
    with daemon(where) as ctrl, Tool(ctrl.url, where / "ca.pem") as a:
        a.agent(0, "a")
        assert "libssl" in maps(a)
