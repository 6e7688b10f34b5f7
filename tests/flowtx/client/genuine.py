"""A small server that answers as a genuine DTM does, word for word (spec 2.2, 2.4), and participants beside it.

It keeps transactions in memory and calls participants inside the request that says so, once and in DTM's order; what a
participant did not answer with success stays as it is. Times, retries and recovery are not its business.
"""

from __future__ import annotations

import base64
import functools
import http.client
import http.server
import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

SUCCESS = (200, b'{"dtm_result":"SUCCESS"}')
Said = tuple[int, bytes]
Participant = Callable[[dict[str, str], bytes], Said]
API = "/api/dtmsvr/"


@dataclass
class Row:
    """One op of one branch."""

    branch_id: str
    op: str
    url: str = ""
    data: bytes = b""
    status: str = "prepared"


@dataclass
class Trans:
    """One transaction as it was asked for, and its rows."""

    fields: dict[str, Any]
    status: str = "prepared"
    reason: str = ""
    result: str = ""
    rows: list[Row] = field(default_factory=list[Row])


class Refuse(Exception):
    """Ends a request with this answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        body = {"dtm_result": "FAILURE", "message": message} if status == 409 else {"message": message}
        self.said = (status, json.dumps(body).encode())


@dataclass(frozen=True)
class Asked:
    """One request that came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class GenuineDtm(http.server.ThreadingHTTPServer):
    """The server; ``participants`` says by path who answers what is not DTM's own."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Asked] = []
        self.participants: dict[str, Participant] = {}
        self.broken: dict[str, Said | None] = {}
        self.transactions: dict[str, Trans] = {}
        self.topics: dict[str, list[str]] = {}
        self._count = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def paths(self) -> list[str]:
        """What was asked, in order: DTM's operations by name, participants by op and path."""
        return [
            each.path.removeprefix(API) if each.path.startswith(API) else f"{each.query.get('op', '-')} {each.path}"
            for each in self.asked
        ]

    def answer(self, asked: Asked) -> Said | None:
        """None hangs up."""
        if asked.path in self.broken:
            return self.broken[asked.path]
        if not asked.path.startswith(API):
            return self.participants[asked.path](asked.query, asked.body)
        try:
            return self._operation(asked) or SUCCESS
        except Refuse as refused:
            return refused.said

    def _operation(self, asked: Asked) -> Said | None:
        operation = asked.path.removeprefix(API)
        match asked.method, operation.partition("/")[0]:
            case "GET", "newGid":
                self._count += 1
                return 200, json.dumps({"dtm_result": "SUCCESS", "gid": f"gid{self._count}"}).encode()
            case "GET", "query":
                return self._query(asked.query["gid"])
            case "GET", "subscribe":
                urls = self.topics.setdefault(asked.query["topic"], [])
                if asked.query["url"] in urls:
                    raise Refuse(500, "this url exists")
                urls.append(asked.query["url"])
            case "GET", "unsubscribe":
                if asked.query["url"] not in self.topics.get(asked.query["topic"], []):
                    raise Refuse(500, "no such an url ")
                self.topics[asked.query["topic"]].remove(asked.query["url"])
            case "DELETE", "topic":
                if self.topics.pop(operation.partition("/")[2], None) is None:
                    raise Refuse(500, "storage: NotFound")
            case "POST", "prepareWorkflow":
                return self._prepare_workflow(asked.json)
            case "POST", "prepare" | "submit" | "abort" | "registerBranch" | "forceStop":
                getattr(self, f"_{operation}")(asked.json)
            case _:
                return 404, b"404 page not found"
        return None

    def _query(self, gid: str) -> Said:
        trans = self.transactions.get(gid)
        found: dict[str, str] | None = None
        rows: list[Row] = []
        if trans is not None:
            found, rows = {"gid": gid, "trans_type": trans.fields["trans_type"], "status": trans.status}, trans.rows
        branches = [{"branch_id": r.branch_id, "op": r.op, "status": r.status, "url": r.url} for r in rows]
        return 200, json.dumps({"branches": branches, "transaction": found}).encode()

    def _prepare(self, body: dict[str, Any]) -> None:
        known = self.transactions.get(body["gid"])
        if known is None:
            self.transactions[body["gid"]] = Trans(fields=body, rows=self._rows(body))
        elif known.status != "prepared":
            raise Refuse(409, f"current status '{known.status}', cannot prepare. FAILURE")

    def _rows(self, body: dict[str, Any]) -> list[Row]:
        rows: list[Row] = []
        for number, (step, payload) in enumerate(zip(body.get("steps", []), body.get("payloads", []), strict=True), 1):
            data, branch_id = payload.encode(), f"{number:02d}"
            if body["trans_type"] == "saga":
                rows.append(Row(branch_id, "compensate", step["compensate"], data))
            name = step["action"].removeprefix("topic://")
            urls = [step["action"]] if name == step["action"] else self.topics.get(name, [])
            if not urls:
                raise Refuse(500, "topic not found")
            ids = [branch_id] if len(urls) == 1 else [f"{branch_id}-{n:02d}" for n in range(1, len(urls) + 1)]
            rows += [Row(each_id, "action", url, data) for each_id, url in zip(ids, urls, strict=True)]
        return rows

    def _registerBranch(self, body: dict[str, Any]) -> None:  # noqa: N802 - DTM's name
        assert all(isinstance(value, str) for value in body.values()), body
        trans = self.transactions.get(body["gid"])
        if trans is None or trans.status != "prepared":
            raise Refuse(409, f"no trans with gid: {body['gid']} status: prepared found FAILURE")
        data, branch_id = body.get("data", "").encode(), body["branch_id"]
        match body["trans_type"]:
            case "tcc":
                rows = [Row(branch_id, op, body[op], data) for op in ("cancel", "confirm")]
            case "xa":
                rows = [Row(branch_id, op, body["url"]) for op in ("rollback", "commit")]
            case "workflow":
                rows = [Row(branch_id, body["op"], data=data, status=body["status"])]
            case other:
                raise Refuse(500, f"unknow trans type: {other}")
        if any((row.branch_id, row.op) == (new.branch_id, new.op) for row in trans.rows for new in rows):
            raise Refuse(500, "storage: UniqueKeyConflict")
        trans.rows += rows

    def _prepare_workflow(self, body: dict[str, Any]) -> Said:
        trans = self.transactions.setdefault(body["gid"], Trans(fields=body))
        found = {"gid": body["gid"], "status": trans.status, "id": 0, "create_time": "2026-01-05T10:00:00Z"}
        stored = {name: trans.fields[name] for name in ("request_timeout", "branch_headers") if name in trans.fields}
        found["options"] = json.dumps({**stored, "concurrent": False})
        found |= {"rollback_reason": trans.reason} if trans.reason else {}
        found |= {"result": trans.result} if trans.result else {}
        progresses = [
            {"branch_id": r.branch_id, "op": r.op, "status": r.status, "bin_data": base64.b64encode(r.data).decode()}
            for r in trans.rows
        ]
        return 200, json.dumps({"progresses": progresses, "transaction": found}).encode()

    def _forceStop(self, body: dict[str, Any]) -> None:  # noqa: N802 - DTM's name
        self._known(body["gid"]).status = "failed"

    def _known(self, gid: str) -> Trans:
        if gid not in self.transactions:
            raise Refuse(500, f"no TransGlobal with gid: {gid} found")
        return self.transactions[gid]

    def _submit(self, body: dict[str, Any]) -> None:
        known = self.transactions.get(body["gid"])
        if body["trans_type"] == "workflow":
            if known is None or known.status != "prepared":
                raise Refuse(500, "storage: NotFound")
            known.status = body["req_extra"]["status"]
            known.reason = body["req_extra"].get("rollback_reason", "")
            known.result = body["req_extra"].get("result", "")
            return
        if known is None:
            known = self.transactions[body["gid"]] = Trans(fields=body, rows=self._rows(body))
        elif known.status not in ("prepared", "submitted"):
            raise Refuse(409, f"current status '{known.status}', cannot sumbmit. FAILURE")
        known.status = "submitted"
        self._process(body["gid"], known)
        if known.fields.get("wait_result") and self._known(body["gid"]).status != "succeed":
            raise Refuse(409, f"{known.reason or 'wait result not return success:'} FAILURE")

    def _abort(self, body: dict[str, Any]) -> None:
        trans = self._known(body["gid"])
        kind = trans.fields["trans_type"]
        if kind == "msg" and trans.status == "prepared":
            trans.status = "failed"
            return
        if body["trans_type"] not in ("tcc", "xa") or trans.status not in ("prepared", "aborting"):
            raise Refuse(409, f"trans type: '{kind}' current status '{trans.status}', cannot abort. FAILURE")
        trans.status, trans.reason = "aborting", body.get("rollback_reason", "")
        self._process(body["gid"], trans)

    def _process(self, gid: str, trans: Trans) -> None:
        kind = trans.fields["trans_type"]
        forward = {"saga": "action", "msg": "action", "tcc": "confirm", "xa": "commit"}[kind]
        back = {"saga": "compensate", "tcc": "cancel", "xa": "rollback"}.get(kind, "")
        if trans.status == "submitted":
            rows = [row for row in trans.rows if row.op == forward]
            for row in reversed(rows) if kind == "tcc" else rows:
                status, body = self._call(gid, kind, row)
                if kind == "saga" and status == 409:
                    row.status, trans.status, trans.reason = "failed", "aborting", body.decode()
                    break
                if status != 200:
                    return
            else:
                trans.status = "succeed"
        if trans.status == "aborting":
            rows = [row for row in trans.rows if row.op == back]
            if all(self._call(gid, kind, row)[0] == 200 for row in (rows if kind == "xa" else reversed(rows))):
                trans.status = "failed"

    def _call(self, gid: str, kind: str, row: Row) -> Said:
        if not row.url:
            return SUCCESS
        said = call(
            row.url,
            {"branch_id": row.branch_id, "gid": gid, "op": row.op, "trans_type": kind},
            row.data,
            "POST" if row.data or kind == "xa" else "GET",
        )
        if said[0] == 200:
            row.status = "succeed"
        return said


def call(url: str, query: dict[str, str], body: bytes = b"", method: str = "POST") -> Said:
    """Call a participant as DTM does (spec 3.2)."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        found = f"{parts.query}&" if parts.query else ""
        target = f"{parts.path}?{found}{urlencode(query)}"
        connection.request(method, target, body or None, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, GenuineDtm)
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        asked = Asked(self.command, parts.path, query, dict(self.headers), body)
        server.asked.append(asked)
        said = server.answer(asked)
        if said is None:
            self.close_connection = True
            return
        self.send_response(said[0])
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(said[1])))
        self.end_headers()
        self.wfile.write(said[1])

    do_POST = do_DELETE = do_GET  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def genuine_dtm() -> Generator[GenuineDtm]:
    """A server, running."""
    with GenuineDtm() as server:
        thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)
