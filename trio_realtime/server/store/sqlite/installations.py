"""Installations of an app on devices, which push notifications go to."""

# ruff: noqa: S608 - SQL text is joined from constants of this program only.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trio_realtime.server.store.ids import object_id
from trio_realtime.server.store.interface import InstallationRow, Query, QueryError
from trio_realtime.server.store.json import object_from_json, to_json

from .base import TxBase
from .conditions import Scope, condition_sql, field_sql
from .find import RESULTS_AT_MOST, running_query

_COLUMNS = "c.cid, c.created_at, c.updated_at, c.attributes"
_ROWS = (
    # By the names that conditions know.
    "(SELECT id, app, object_id AS cid, created_at, updated_at, attributes, device_token,"
    " installation_id FROM installations) c"
)
_FEW = 10
_PURGED_AT_ONCE = 20


class Installations(TxBase):
    """The operations of a transaction on installations."""

    def installation(self, object_id: str) -> InstallationRow | None:
        row = self._execute(
            f"SELECT {_COLUMNS} FROM {_ROWS} WHERE c.app = ? AND c.cid = ?",
            (self._app, object_id),
        ).fetchone()
        return None if row is None else _row(row)

    def installations_of(
        self, *, device_token: str | None, installation_id: str | None
    ) -> list[InstallationRow]:
        rows = self._execute(
            f"SELECT {_COLUMNS} FROM {_ROWS} WHERE c.app = :app AND (c.device_token = :token"
            " OR c.installation_id = :device) ORDER BY c.updated_at DESC, c.id DESC LIMIT :few",
            {"app": self._app, "token": device_token, "device": installation_id, "few": _FEW},
        )
        return [_row(row) for row in rows]

    def put_installation(self, attributes: Mapping[str, Any], row_id: str = "") -> InstallationRow:
        values = (
            attributes.get("deviceToken"),
            attributes.get("installationId"),
            self.now,
            to_json(attributes),
        )
        known = self.installation(row_id) if row_id else None
        if known is not None:
            created_at = known.created_at
            self._execute(
                "UPDATE installations SET device_token = ?, installation_id = ?, updated_at = ?,"
                " attributes = ? WHERE app = ? AND object_id = ?",
                (*values, self._app, row_id),
            )
        else:
            row_id, created_at = row_id or object_id(self.now), self.now
            self._execute(
                "INSERT INTO installations (device_token, installation_id, updated_at, attributes,"
                " app, object_id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*values, self._app, row_id, created_at),
            )
            self._count(1)
        return InstallationRow(row_id, created_at, self.now, dict(attributes))

    def delete_installation(self, object_id: str) -> bool:
        return self._delete(
            "DELETE FROM installations WHERE app = ? AND object_id = ?", (self._app, object_id)
        )

    def installation_count(self) -> int:
        row = self._execute("SELECT installations FROM apps WHERE id = ?", (self._app,)).fetchone()
        return 0 if row is None else int(row[0])

    def forget_installations(self, before: int) -> None:
        self._delete(
            "DELETE FROM installations WHERE id IN (SELECT id FROM installations"
            " WHERE app = ? AND updated_at < ? ORDER BY updated_at LIMIT ?)",
            (self._app, before, _PURGED_AT_ONCE),
        )

    def _delete(self, statement: str, parameters: tuple[Any, ...]) -> bool:
        deleted = self._execute(statement, parameters).rowcount
        self._count(-deleted)
        return deleted > 0

    def _count(self, more: int) -> None:
        self._execute(
            "UPDATE apps SET installations = installations + ? WHERE id = ?", (more, self._app)
        )

    def find_installations(self, query: Query) -> list[InstallationRow]:
        if query.limit < 0 or query.skip < 0:
            raise QueryError("limit and skip cannot be negative")
        scope = Scope(self._app)
        orders = [(field_sql(key.field, scope).order(), key.descending) for key in query.sort]
        order = "".join(f"{sql.text}{' DESC' * descending}, " for sql, descending in orders)
        sorted_by = tuple(value for sql, _ in orders for value in sql.parameters)
        page = min(query.limit, RESULTS_AT_MOST), min(query.skip, 2**62)
        rows = self._found(
            query, _COLUMNS, f" ORDER BY {order}c.id LIMIT ? OFFSET ?", (*sorted_by, *page)
        )
        return [_row(row) for row in rows]

    def count_installations(self, query: Query) -> int:
        ((count,),) = self._found(query, "count(*)", "", ())
        return int(count)

    def _found(
        self, query: Query, columns: str, rest: str, parameters: tuple[Any, ...]
    ) -> list[Any]:
        condition = condition_sql(query.where, Scope(self._app))
        sql = f"SELECT {columns} FROM {_ROWS} WHERE c.app = ? AND ({condition.text}){rest}"
        with running_query(self._database.connection, sql, self._database.query_seconds):
            return self._execute(sql, (self._app, *condition.parameters, *parameters)).fetchall()


def _row(row: Sequence[Any]) -> InstallationRow:
    return InstallationRow(row[0], row[1], row[2], object_from_json(row[3]))
