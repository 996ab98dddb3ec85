"""Serve a folder with Twisted Conch's SFTP server for Unix: PORT HOST_KEY FOLDER USER PASSWORD."""

import os
import sys
from collections.abc import Callable
from typing import Any

from twisted.conch.avatar import ConchUser
from twisted.conch.interfaces import ISFTPServer
from twisted.conch.ssh import filetransfer, session
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.unix import SFTPServerForUnixConchUser
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet import reactor
from twisted.python.components import registerAdapter
from twisted.python.filepath import FilePath
from zope.interface import implementer

port, host_key, folder, user, password = sys.argv[1:]


class Avatar(ConchUser):
    def __init__(self) -> None:
        super().__init__()
        self.channelLookup[b"session"] = session.SSHSession
        self.subsystemLookup[b"sftp"] = filetransfer.FileTransferServer

    def getUserGroupId(self) -> tuple[int, int]:
        return os.getuid(), os.getgid()

    def getHomeDir(self) -> FilePath[str]:
        return FilePath(folder)

    def _runAsUser(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        if callable(call):
            return call(*args, **kwargs)
        return [function(*arguments) for function, arguments in call][-1]


@implementer(IRealm)
class Realm:
    def requestAvatar(self, name: bytes, mind: object, *interfaces: Any) -> tuple[Any, Any, Callable[[], None]]:
        return interfaces[0], Avatar(), lambda: None


registerAdapter(SFTPServerForUnixConchUser, Avatar, ISFTPServer)
key = Key.fromFile(host_key)
SSHFactory.publicKeys = {key.sshType(): key.public()}
SSHFactory.privateKeys = {key.sshType(): key}
factory = SSHFactory()
checker = InMemoryUsernamePasswordDatabaseDontUse()
checker.addUser(user.encode(), password.encode())
factory.portal = Portal(Realm(), [checker])
reactor.listenTCP(int(port), factory, interface="127.0.0.1")
reactor.run()
