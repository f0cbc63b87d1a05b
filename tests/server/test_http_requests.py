"""The native door reads requests strictly: what is wrong is refused with the place where it is, and nothing is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from http_server import Web, open_web
from http_server import open_test_web as open_test_web

import sessions
from sessions.doors.requests import count, flag, number, pairs, read_json, read_query, text
from sessions.wire import WrongField

RUN = "/sessions/test/commands"

WRONG_BODIES: list[tuple[str, Any, str]] = [
    ("/sessions", {"nme": "x"}, "$.nme"),
    ("/sessions", {"name": 5}, "$.name"),
    ("/sessions", {"env": {"A": 1}}, "$.env['A']"),
    ("/sessions", {"labels": ["a"]}, "$.labels"),
    ("/sessions", {"restart": "false"}, "$.restart"),
    ("/sessions", ["a"], "$"),
    ("/sessions", None, "$"),
    (RUN, {}, "$.command"),
    (RUN, {"command": ["true"]}, "$.command"),
    (RUN, {"command": "true", "timeout": "5"}, "$.timeout"),
    (RUN, {"command": "true", "timeout": True}, "$.timeout"),
    (RUN, {"command": "true", "run_async": 1}, "$.run_async"),
    (RUN, {"command": "true", "stdin": 5}, "$.stdin"),
    (RUN, {"command": "true", "stdin": "a", "stdin_base64": "YQ=="}, "$.stdin_base64"),
    (RUN, {"command": "true", "stdin_base64": "a"}, "$.stdin_base64"),
    (RUN, {"command": "true", "stdin_base64": "é"}, "$.stdin_base64"),
    (RUN, {"command": "true", "detach": True}, "$.detach"),
    (RUN, {"command": "true", "on_disconnect": "explode"}, "$.on_disconnect"),
    (RUN, {"command": "true", "run_async": True, "on_disconnect": "interrupt"}, "$.on_disconnect"),
    ("/sessions/test/close", {"grace": "1"}, "$.grace"),
    ("/sessions/test/restart", {"grace": 1}, "$.grace"),
    ("/follow", {"commands": "all"}, "$.commands"),
    ("/prune", {"keep_bytes": 1.5}, "$.keep_bytes"),
]

WRONG_JSON = [
    (b"{", "$"),
    (b'{"command": "\xff"}', "$"),
    (b'{"command": "true", "timeout": NaN}', "$"),
    (b'{"command": "true", "timeout": %s}' % (b"9" * 400), "$"),
    (b'{"command": "true", "command": "false"}', "$.command"),
    (b'{"a":' * 100_000, "$"),
    (json.dumps({"command": "true"}).encode("utf-16"), "$"),
]

WRONG_QUERIES = [
    ("/health?verbose=1", "?verbose"),
    ("/sessions?state=asleep", "?state"),
    ("/sessions?label=ci", "?label"),
    ("/sessions?label=a=1&label=a=2", "?label"),
    ("/sessions?state=open&state=closed", "?state"),
    ("/sessions?label=%ff=x", "?"),
    ("/commands?limit=0", "?limit"),
    ("/commands?limit=1001", "?limit"),
    ("/commands?limit=1e2", "?limit"),
    ("/commands?limit=%D9%A3", "?limit"),
    ("/sessions/test/logs?since=yesterday", "?since"),
    ("/sessions/test/logs?since=1e999", "?since"),
    ("/sessions/test/logs?timestamps=yes", "?timestamps"),
    ("/sessions/test/logs?timestamps=true", "?timestamps"),
    ("/sessions/test/logs?format=raw&encoding=base64", "?encoding"),
    ("/sessions/test/follow?after=-2", "?after"),
    ("/follow", "?command"),
    ("/follow?session=test&after=5", "?after"),
]


@pytest.mark.parametrize(("path", "body", "place"), WRONG_BODIES)
async def test_wrong_body_is_refused_with_its_place(web: Web, path: str, body: object, place: str) -> None:
    answer = await web.http.post(path, content=json.dumps(body))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid")
    assert answer.json()["error"]["path"] == place
    assert (await web.get("/commands"))["commands"] == []


async def test_what_is_not_json_is_refused(web: Web) -> None:
    for body, place in WRONG_JSON:
        answer = await web.http.post(RUN, content=body)
        assert (answer.status_code, answer.json()["error"]["path"]) == (400, place), body[:80]


async def test_wrong_query_is_refused_with_its_place(web: Web) -> None:
    for path, place in WRONG_QUERIES:
        answer = await web.http.get(path)
        assert (answer.status_code, answer.json()["error"]["path"]) == (400, place), path


async def test_an_error_of_the_engine_has_its_code_and_status(web: Web) -> None:
    for path, body, status, code in [
        ("/sessions", {"name": "test"}, 409, "conflict"),
        ("/sessions", {"name": "no spaces"}, 400, "invalid"),
        ("/sessions/nobody/commands", {"command": "true"}, 404, "not_found"),
        (RUN, {"command": " "}, 400, "invalid"),
        (RUN, {"command": "true", "cwd": "/nowhere"}, 400, "invalid"),
        (RUN, {"command": "true", "timeout": 0}, 400, "invalid"),
        ("/prune", {}, 400, "invalid"),
        ("/follow", {"commands": [], "after": {"k3v9x2m4ab": -2}}, 400, "invalid"),
    ]:
        error = (await web.post(path, body, status))["error"]
        assert error["code"] == code
        assert set(error) == {"code", "message"}


async def test_limits_of_the_engine_are_answers(root: Path) -> None:
    limits = sessions.Limits(sessions=1, queued_commands=1)
    async with sessions.open_engine(root, limits=limits) as engine, open_web(engine) as web:
        await web.post("/sessions", {"name": "test"}, 201)
        assert (await web.post("/sessions", {}, 429))["error"]["code"] == "busy"
        asked = {"command": "sleep 60", "run_async": True, "in_shell": True}
        for _ in range(2):
            await web.post(RUN, asked, 202)
        for more in (asked, {"command": "true"}):
            assert (await web.post(RUN, more, 429))["error"]["code"] == "busy"
        await web.post("/sessions/test/close", {"grace": 1})
        await web.post("/sessions", {"name": "next"}, 201)


async def test_lone_surrogates_break_nothing(web: Web) -> None:
    for body in ({"command": "echo \ud800"}, {"command": "true", "labels": {"\udfff": ""}}):
        answer = await web.http.post(RUN, content=json.dumps(body))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid")
    answer = await web.http.post("/sessions", content=json.dumps({"name": "\ud800"}))
    assert answer.status_code == 400


async def test_unknown_paths_and_methods(web: Web) -> None:
    for method, path in [("GET", "/nothing"), ("POST", "/sessions/test/x"), ("GET", "/"), ("GET", "/health/")]:
        answer = await web.http.request(method, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    for method, path, allowed in [
        ("PUT", "/sessions", "GET, HEAD, POST"),
        ("DELETE", "/health", "GET, HEAD"),
        ("POST", "/sessions/test", "DELETE, GET, HEAD"),
        ("OPTIONS", "/follow", "GET, POST"),
    ]:
        answer = await web.http.request(method, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
        assert answer.headers["allow"] == allowed
    head = await web.http.head("/sessions")
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/sessions/../commands",
        "/v1/sessions/%2e%2e",
        "/v1/sessions/..%2f..%2fetc%2fpasswd",
        "/v1/sessions/test%2fcommands",
        "/v1/sessions/test%2Flogs",
        "/v1/sessions/%00",
        "/v1/sessions/%ff%fe",
        "/v1/sessions/test%20",
        "/v1/sessions//commands",
        "/v1/commands/../../../etc/passwd/logs",
        "/v1/commands/..%2f..%2f..%2fcatalog.sqlite3/logs?format=raw",
        "/v1/../v1/sessions",
        "/v1/sessions/test/commands/../logs",
    ],
)
async def test_ids_that_are_paths_are_not_found(web: Web, path: str) -> None:
    status, answer = await web.ask(f"GET {path} HTTP/1.1")
    assert (status, answer["error"]["code"]) == (404, "not_found")


async def test_a_body_that_nobody_wants_is_read_all_the_same(web: Web) -> None:
    """Left unread, it would block the connection for what comes after it."""
    status, answer = await web.ask("POST /v1/nothing HTTP/1.1", b"x" * 3_000_000)
    assert (status, answer["error"]["code"]) == (404, "not_found")
    assert (await web.get("/health"))["status"] == "ok"


def test_queries_are_typed() -> None:
    known = {"n": count("", -1), "x": number("", 0), "b": flag(""), "t": text("", True), "p": pairs("", ":", int)}
    assert read_query(b"n=-1&x=2.5e1&b=false&t=a&t=%C3%A9+b&p=k%3A%3A:7", known | {"p": pairs("", ":")}) == {
        "n": -1,
        "x": 25.0,
        "b": False,
        "t": ["a", "é b"],
        "p": [("k", "::7")],
    }
    assert read_query(b"", known) == {"n": None, "x": None, "b": None, "t": [], "p": []}
    for query in (
        b"n=1.0",
        b"n=+1",
        b"n= 1",
        b"n=",
        b"n=9999999999999999999",
        b"x=nan",
        b"x=inf",
        b"x=-1",
        b"b=1",
        b"p=:1",
        b"p=a",
    ):
        with pytest.raises(WrongField):
            read_query(query, known)


def test_json_is_read_as_it_is() -> None:
    assert read_json('{"a": [1, 2.5, true, null, "é\\u00e9"]}'.encode()) == {"a": [1, 2.5, True, None, "éé"]}
