"""The environments that come with Palaestra: id -> module. A new one is one module and one line here."""

BUILTIN: dict[str, str] = {
    "palaestra/Countdown-v0": ".countdown",
    "palaestra/Sort-v0": ".sort",
}
