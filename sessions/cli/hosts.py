"""Who can answer a verb of the command line. An engine and a client have the same verbs, a reader of a root those that only read."""

from __future__ import annotations

from typing import TypeAlias

from ..client.client import Client
from ..client.command import RemoteCommand
from ..client.session import RemoteSession
from ..client.terminal import RemoteTerminal
from ..command import Command
from ..engine import Engine
from ..session import Session
from ..terminal import Terminal
from .reading import RootReader

Host: TypeAlias = Client | Engine
Reader: TypeAlias = Client | Engine | RootReader
AnyCommand: TypeAlias = Command | RemoteCommand
AnySession: TypeAlias = Session | RemoteSession
AnyTerminal: TypeAlias = Terminal | RemoteTerminal
