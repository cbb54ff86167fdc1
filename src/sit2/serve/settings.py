"""Settings of `sit2 serve`: where it listens, what it shows, and its limits. Loads nothing heavy."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from sit2.errors import ConfigError
from sit2.parameters import check_fields, parameter

ADDRESS, ANSWERS, LIMITS = "address", "answers", "limits"  # topics of the help
ENVIRONMENT = "SIT2_TOKEN"


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """What `sit2 serve` may be told.

    Raises:
        ConfigError: for a value that a setting cannot take, and for an address that others can reach without a
            token where that was not asked for.
    """

    host: str = parameter(
        "127.0.0.1", "address to listen at: this machine alone can reach the default", topic=ADDRESS
    )
    port: int = parameter(8000, "port to listen at; 0: one that is free", low=0, high=65535, topic=ADDRESS)
    token: str = parameter(
        "",
        "what every request must bring, as `Authorization: Bearer TOKEN`; others on this machine see it in the "
        f"list of processes, so put it into the environment instead: {ENVIRONMENT} (default: none)",
        topic=ADDRESS,
    )
    no_token: bool = parameter(
        False,
        "let everybody in who can reach the address, also from other machines",
        alone=True,
        topic=ADDRESS,
    )
    coverage: float | None = parameter(
        None,
        "how often the set of possible classes must contain the true one, where the model gives sets "
        "(default: 0.95)",
        topic=ANSWERS,
    )
    with_examples: bool = parameter(
        False,
        "show the nearest training images on the page, to everybody who may use it: they may show patients",
        alone=True,
        topic=ANSWERS,
    )
    max_megapixels: int = parameter(
        50,
        "refuse images of more than this many million pixels; never above what the model allows",
        low=1,
        high=100_000,
        topic=LIMITS,
    )
    max_body: int = parameter(32, "megabytes of a request, at most", low=1, high=2048, topic=LIMITS)
    max_images: int = parameter(64, "images of a request, at most", low=1, high=10_000, topic=LIMITS)
    max_concurrency: int = parameter(
        32, "requests that are worked on at once, at most; there may be eight times as many connections", low=1,
        high=10_000, topic=LIMITS,
    )  # fmt: skip
    timeout: float = parameter(
        30.0,
        "seconds that a request may take to arrive, and again its answer to be found",
        low=0.1,
        high=3600.0,
        topic=LIMITS,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.token and not (self.token.isascii() and self.token.isprintable() and " " not in self.token):
            raise ConfigError(
                "the token holds spaces or other characters than ASCII\nexpected letters and digits"
            )
        if self.token and self.no_token:
            raise ConfigError(
                f"--no-token and a token (--token, {ENVIRONMENT}) contradict each other\nuse one of them"
            )
        if not (self.token or self.no_token or self.stays_here):
            raise ConfigError(
                f"other machines can reach {self.host}, and there is no token\n"
                f"expected one in {ENVIRONMENT} or --token; or --no-token, to let everybody in"
            )

    @property
    def stays_here(self) -> bool:
        """Whether this machine alone can reach the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:  # a name may lead anywhere
            return False

    @property
    def max_bytes(self) -> int:
        """Bytes of a request's body, at most."""
        return self.max_body * 10**6

    @property
    def max_held(self) -> int:
        """Bytes of the bodies of all requests together, at most."""
        return 8 * self.max_bytes

    @property
    def max_connections(self) -> int:
        """Connections at once, at most."""
        return 8 * self.max_concurrency
