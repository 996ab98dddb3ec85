"""Which SFTP server, and how to log in to it."""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from callarchive.settings import SftpSettings
from callarchive.storage.landing.sftp.host_keys import SSH_PORT


@dataclass(frozen=True, slots=True)
class Server:
    """An SFTP server, and how to log in to it.

    Attributes:
        account: the subaccount_id, for messages.
        stall_timeout_s: how long a session waits for data.
    """

    host: str
    port: int
    user: str
    account: str
    settings: SftpSettings = field(repr=False)
    stall_timeout_s: float

    @classmethod
    def from_landing(cls, landing: str, *, account: str, settings: SftpSettings, stall_timeout_s: float) -> "Server":
        """Return the server in `sftp://user@host:port/path`; the user is percent-decoded."""
        parts = urlsplit(landing)
        return cls(
            host=parts.hostname or "",
            port=parts.port or SSH_PORT,
            user=unquote(parts.username or "", errors="strict"),
            account=account,
            settings=settings,
            stall_timeout_s=stall_timeout_s,
        )

    @property
    def uri(self) -> str:
        """The server's URL, without the user."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"sftp://{host}" if self.port == SSH_PORT else f"sftp://{host}:{self.port}"
