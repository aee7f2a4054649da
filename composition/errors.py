"""The reasons for which a worker, a service or a platform does not start."""


class StartFailed(Exception):
    """Raised when a process of the platform cannot start or does not stay alive. The text gives cause and remedy."""


class BadAddress(StartFailed):
    """Raised when the host or port of the settings cannot be used. The text gives the cause; the caller adds a remedy.

    setting: the name of the setting to change, `port` or `public_url`.
    """

    def __init__(self, message: str, setting: str) -> None:
        super().__init__(message)
        self.setting = setting


def cannot_listen(host: str, port: int, error: OSError) -> BadAddress:
    """Return the error for an address that the system refuses."""
    return BadAddress(f"cannot listen on {host}:{port}: {error.strerror}", "port")
