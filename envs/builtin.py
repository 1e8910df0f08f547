"""The environments that come with Palaestra: id -> module. A new one is one module and one line here."""

BUILTIN: dict[str, str] = {
    "palaestra/Code-v0": ".code",
    "palaestra/Compose-v0": ".compose",
    "palaestra/Countdown-v0": ".countdown",
    "palaestra/Lookup-v0": ".lookup",
    "palaestra/Math-v0": ".maths",
    "palaestra/MiddleMatch-v0": ".recall",
    "palaestra/NameIndex-v0": ".recall",
    "palaestra/ReasoningGym-v0": ".adapters.reasoning_gym",
    "palaestra/RecursiveREPL-v0": ".repl",
    "palaestra/Sort-v0": ".sort",
    "palaestra/Strategies-v0": ".strategies",
    "palaestra/Travel-v0": ".travel",
}
