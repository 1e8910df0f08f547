"""The statements of the desk's searches: constants with named parameters, each with a complete order."""

from __future__ import annotations

CITIES = "SELECT * FROM city ORDER BY name, id LIMIT :limit OFFSET :offset"
POIS = """SELECT * FROM poi WHERE city = :city AND (:kind IS NULL OR kind = :kind) AND price <= :max_price
AND (:minute IS NULL OR (open <= :minute AND close > :minute)) AND (:weekday IS NULL OR closed_weekday <> :weekday)
ORDER BY abs(x - :x) + abs(y - :y), name, id LIMIT :limit OFFSET :offset"""
RESTAURANTS = """SELECT * FROM restaurant WHERE city = :city AND (:kind IS NULL OR cuisine = :kind)
AND meal_price <= :max_price AND (:minute IS NULL OR (open <= :minute AND close > :minute))
AND (:weekday IS NULL OR closed_weekday <> :weekday)
ORDER BY abs(x - :x) + abs(y - :y), name, id LIMIT :limit OFFSET :offset"""
AROUND = {
    "poi": """SELECT * FROM poi WHERE city = :city AND id <> :id AND abs(x - :x) + abs(y - :y) <= :radius
ORDER BY abs(x - :x) + abs(y - :y), id LIMIT :limit OFFSET :offset""",
    "restaurant": """SELECT * FROM restaurant WHERE city = :city AND id <> :id AND abs(x - :x) + abs(y - :y) <= :radius
ORDER BY abs(x - :x) + abs(y - :y), id LIMIT :limit OFFSET :offset""",
    "hotel": """SELECT * FROM hotel WHERE city = :city AND id <> :id AND abs(x - :x) + abs(y - :y) <= :radius
ORDER BY abs(x - :x) + abs(y - :y), id LIMIT :limit OFFSET :offset""",
}
HOTELS = """SELECT * FROM hotel WHERE city = :city AND stars >= :stars AND min_nights <= :nights
AND (SELECT MAX(enough) FROM (SELECT COUNT(*) = :nights AS enough FROM room WHERE room.hotel = hotel.id
     AND room.day >= :day AND room.day < :day + :nights AND room.left * room.cap >= :guests GROUP BY room.type)) = 1
ORDER BY stars, name, id LIMIT :limit OFFSET :offset"""
ROOMS = """SELECT * FROM room WHERE hotel = ? AND day >= ? AND day < ? ORDER BY day, type, hotel"""
LEGS = """SELECT * FROM leg WHERE origin = :origin AND target = :target AND day = :day AND runs = 1
AND (:mode IS NULL OR mode = :mode) ORDER BY dep, id LIMIT :limit OFFSET :offset"""
