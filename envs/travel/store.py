"""An episode's private copy of a world. Statements are constants; values only ever travel as parameters."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from .plan import Item
from .rows import TABLES, Leg, Room, insert

_BY_ID = {table: f"SELECT * FROM {table} WHERE id = ?" for table in TABLES if "id" in TABLES[table]._fields}


class Store:
    """Opens a copy of a world's image.

    Args:
        image: the serialised database.
    """

    def __init__(self, image: bytes) -> None:
        self.db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self.db.deserialize(image)

    def close(self) -> None:
        """Drop the copy. Safe to call twice."""
        self.db.close()

    def row(self, table: str, id: int) -> Any:
        """The row of a table, or None."""
        found = self.db.execute(_BY_ID[table], (id,)).fetchone()
        return TABLES[table](*found) if found else None

    def place(self, id: int) -> Any:
        """The city (its station), sight, restaurant or hotel with this id, or None."""
        rows = (self.row(table, id) for table in ("city", "poi", "restaurant", "hotel", "district"))
        return next((row for row in rows if row is not None), None)

    def room(self, hotel: int, day: int, type: str) -> Room | None:
        """The rooms of one type in one night."""
        found = self.db.execute("SELECT * FROM room WHERE hotel = ? AND day = ? AND type = ?", (hotel, day, type))
        row = found.fetchone()
        return Room(*row) if row else None

    def weather(self, city: int, day: int) -> str | None:
        """The forecast, or None beyond the days of the world."""
        row = self.db.execute("SELECT kind FROM weather WHERE city = ? AND day = ?", (city, day)).fetchone()
        return row[0] if row else None

    def select(self, table: str, sql: str, values: Sequence[Any] | dict[str, Any]) -> list[Any]:
        """Rows of a table by a constant statement."""
        return [TABLES[table](*row) for row in self.db.execute(sql, values)]

    # ---- what an episode changes -------------------------------------------------------------------------------

    def cancel_leg(self, id: int) -> None:
        """A departure does not run."""
        self.db.execute("UPDATE leg SET runs = 0 WHERE id = ?", (id,))

    def add_leg(self, leg: Leg) -> None:
        """A departure more."""
        self.db.execute(insert("leg"), leg)

    def book(self, item: Item, paid: int) -> int:
        """Write a booking and its payment; the booking's id."""
        day, start, kind, id, by, nights, room, rooms = item.key
        cursor = self.db.execute(
            "INSERT INTO booking (kind, ref, day, start, by, nights, room, qty, paid) VALUES (?,?,?,?,?,?,?,?,?)",
            (kind, id, day, start, by, nights, room, rooms, paid),
        )
        self.db.execute("INSERT INTO ledger (booking, amount) VALUES (?, ?)", (cursor.lastrowid, -paid))
        return int(cursor.lastrowid or 0)

    def unbook(self, booking: int) -> int | None:
        """Delete a booking and pay back; the amount, or None when there is no such booking."""
        row = self.db.execute("SELECT paid FROM booking WHERE id = ?", (booking,)).fetchone()
        if row is None:
            return None
        self.db.execute("DELETE FROM booking WHERE id = ?", (booking,))
        self.db.execute("INSERT INTO ledger (booking, amount) VALUES (?, ?)", (booking, row[0]))
        return int(row[0])

    def bookings(self) -> list[tuple[int, Item, int]]:
        """Id, item and payment of every booking, in the order of the trip."""
        rows = self.db.execute(
            "SELECT id, kind, ref, day, start, by, nights, room, qty, paid FROM booking "
            "ORDER BY day, start, kind, ref, id"
        ).fetchall()
        return [(row[0], _item(row[1:9]), row[9]) for row in rows]

    def balance(self) -> int:
        """The sum of all payments, negative."""
        return int(self.db.execute("SELECT COALESCE(SUM(amount), 0) FROM ledger").fetchone()[0])

    def final_hash(self) -> str:
        """A hash of what is booked and paid in the end; the order of the bookings does not matter."""
        rows = sorted([list(item.key), paid] for _, item, paid in self.bookings())
        return hashlib.sha256(json.dumps([rows, self.balance()]).encode()).hexdigest()


def _item(row: tuple[Any, ...]) -> Item:
    kind, ref, day, start, by, nights, room, qty = row
    timed: dict[str, Any] = {"start": f"{start // 60:02d}:{start % 60:02d}"} if start >= 0 else {}
    stay: dict[str, Any] = {"nights": nights, "room": room, "rooms": qty} if kind == "stay" else {}
    return Item(kind=kind, id=ref, day=day, by=by, **timed, **stay)
