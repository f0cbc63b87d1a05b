"""The native door's sessions: create, list, get, restart, close, delete."""

from __future__ import annotations

from functools import partial

import attrs
from starlette.types import ASGIApp

from ...lifecycle import SESSION_STATES
from ...models import SessionInfo
from ...session import Session
from ...wire import CreateSession, Grace, SessionList, WrongField
from ..operations import Call, Operation
from ..requests import choice, json_response, pairs
from .slow_answers import SlowAnswer


@attrs.frozen
class Nothing:
    """The body of what needs none: what would be in it would be said in vain."""


def label_filter(given: list[tuple[str, str]]) -> dict[str, str]:
    labels = dict(given)
    if len(labels) < len(given):
        raise WrongField("the same key is given more than once", "?label")
    return labels


async def find_session(call: Call) -> Session:
    return await call.engine.get_session(call.path["session"])


async def create(call: Call) -> ASGIApp:
    asked: CreateSession = call.body
    session = await call.engine.create_session(
        asked.name, cwd=asked.cwd, env=asked.env, shell=asked.shell, labels=asked.labels, restart=asked.restart
    )
    return json_response(session.info, 201, {"Location": f"{call.base}/sessions/{session.id}"})


async def show_all(call: Call) -> ASGIApp:
    found = await call.engine.list_sessions(state=call.query["state"], labels=label_filter(call.query["label"]))
    return json_response(SessionList(sessions=[session.info for session in found]))


async def show(call: Call) -> ASGIApp:
    return json_response((await find_session(call)).info)


async def restart(call: Call) -> ASGIApp:
    session = await find_session(call)
    return SlowAnswer(call.streams, session.restart, lambda: session.info, insist=True)


async def close(call: Call) -> ASGIApp:
    session = await find_session(call)
    return SlowAnswer(call.streams, partial(session.close, call.body.grace), lambda: session.info, insist=True)


async def delete(call: Call) -> ASGIApp:
    session = await find_session(call)
    work = partial(call.engine.delete_session, session.id)
    return SlowAnswer(call.streams, work, lambda: session.info, empty=True, insist=True)


LABEL = pairs("Only those with this label, written key=value; of several, all must be there.", "=")

OPERATIONS = [
    Operation(
        method="POST",
        path="/sessions",
        summary="Open a session: a fresh shell.",
        answer=create,
        body=CreateSession,
        status=201,
        result=SessionInfo,
    ),
    Operation(
        method="GET",
        path="/sessions",
        summary="The sessions of this root, oldest first.",
        answer=show_all,
        query={"state": choice("Only those in this state.", *SESSION_STATES), "label": LABEL},
        result=SessionList,
    ),
    Operation(
        method="GET", path="/sessions/{session}", summary="One session, by name or id.", answer=show, result=SessionInfo
    ),
    Operation(
        method="DELETE",
        path="/sessions/{session}",
        summary="Close a session and remove it, its commands and their logs.",
        answer=delete,
        status=204,
        also={200: SessionInfo},
    ),
    Operation(
        method="POST",
        path="/sessions/{session}/restart",
        summary="Give a session a fresh shell.",
        answer=restart,
        body=Nothing,
        body_optional=True,
        result=SessionInfo,
    ),
    Operation(
        method="POST",
        path="/sessions/{session}/close",
        summary="End every process in a session. Its logs stay.",
        answer=close,
        body=Grace,
        body_optional=True,
        result=SessionInfo,
    ),
]
