"""The environments that come with Palaestra: id -> module. A new one is one module and one line here."""

BUILTIN: dict[str, str] = {
    "palaestra/Compose-v0": ".compose",
    "palaestra/Countdown-v0": ".countdown",
    "palaestra/Math-v0": ".maths",
    "palaestra/RecursiveREPL-v0": ".repl",
    "palaestra/ReasoningGym-v0": ".adapters.reasoning_gym",
    "palaestra/Sort-v0": ".sort",
}
