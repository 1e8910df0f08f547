# ruff: noqa: RUF005, SIM105, UP031 - plain and old, so that it runs in any Python 3
"""What runs beside the model's code: the cell runner, the names it may use, and the report on `answer` after each cell.

Only the standard library, and nothing of this package, is used here: the text of this file is executed inside the
sandbox. Nothing in it is trusted by the host. All that leaves is calls, which the host checks and counts itself, and a
report of what `answer` holds, which is the model's own claim anyway.
"""

import ast as _ast
import json as _json
import linecache as _linecache
import os as _os
import sys as _sys
import threading as _threading
import traceback as _traceback


class BudgetExceeded(RuntimeError):
    """A call was refused because it would pass a limit. Nothing was sent."""


class LMError(RuntimeError):
    """A language model call failed; the text says why."""


class LMFailure:
    """A failed item of a batch: falsy, not a string; str() gives the reason."""

    def __init__(self, reason, partial=None):
        self.reason = reason
        self.partial = partial

    def __bool__(self):
        return False

    def __str__(self):
        return self.reason

    def __repr__(self):
        return "LMFailure(%r)" % self.reason


RESERVED = (
    "llm", "llm_batch", "rlm", "rlm_batch", "submit", "show_vars", "remaining", "llm_query", "llm_query_batched",
    "rlm_query", "rlm_query_batched", "SHOW_VARS", "BudgetExceeded", "LMError", "LMFailure",
)  # fmt: skip


def decode_context(blob, layout):
    """Make the variable `context` from its blob and layout (see `context.py` of the host)."""
    kind = layout["kind"]
    if kind == "bytes":
        return bytes(blob)
    if kind == "str":
        return str(blob, "utf-8", "surrogatepass")
    if kind == "json":
        return _json.loads(str(blob, "utf-8", "surrogatepass"))
    view = memoryview(blob)
    starts = [0] + layout["ends"][:-1]
    texts = [str(view[a:b], "utf-8", "surrogatepass") for a, b in zip(starts, layout["ends"])]  # noqa: B905
    return texts if kind == "list" else dict(zip(layout["keys"], texts))  # noqa: B905


UPLOAD_CHARS = 1_000_000  # longer contexts of `rlm` cross in pieces of this size


def make_names(call, namespace):
    """The functions of the REPL, by name.

    Args:
        call: ``call(name, args) -> dict``: one request to the host.
        namespace: the dict in which cells run.
    """
    lock = _threading.Lock()

    def ask(name, **args):
        with lock:
            reply = call(name, args)
        if "refused" in reply:
            raise BudgetExceeded(reply["refused"])
        return reply

    def sent(context):
        """A context as it crosses to the host: as it is, or uploaded in pieces when it is long."""
        if isinstance(context, (bytes, bytearray)):
            raise TypeError("contexts of rlm are text, lists or dicts, not bytes; decode them first")
        text = context if isinstance(context, str) else _json.dumps(context)
        if len(text) <= UPLOAD_CHARS:
            return {"value": context}
        number = None
        for i in range(0, len(text), UPLOAD_CHARS):
            number = ask("upload", number=number, text=text[i : i + UPLOAD_CHARS])["number"]
        return {"upload": number, "json": not isinstance(context, str)}

    def text_of(value, what, index=None):
        if not isinstance(value, str):
            where = what if index is None else "%s[%d]" % (what, index)
            raise TypeError("%s is a %s; give a str (no call was made)" % (where, type(value).__name__))
        return str.__str__(value)

    def one(items):
        item = items[0]
        if "text" in item:
            return item["text"]
        raise LMError(item["error"])

    def many(items, strict):
        out = [item["text"] if "text" in item else LMFailure(item["error"], item.get("partial")) for item in items]
        if strict:
            for i, item in enumerate(out):
                if not isinstance(item, str):
                    raise LMError("item %d: %s" % (i, item))
        return out

    def listed(values, what):
        if isinstance(values, (str, bytes)):
            raise TypeError("%s is one %s; give a list of str" % (what, type(values).__name__))
        return [text_of(value, what, i) for i, value in enumerate(values)]

    def llm(prompt, model=None):
        """Ask a language model; it sees the prompt only."""
        return one(ask("llm", prompts=[text_of(prompt, "prompt")])["items"])

    def llm_batch(prompts, model=None, strict=False):
        """Ask many prompts at once; replies come in the order of the prompts."""
        prompts = listed(prompts, "prompts")
        return many(ask("llm", prompts=prompts)["items"], strict) if prompts else []

    def rlm(prompt, context=None, model=None):
        """Ask a model that has a REPL of its own, with `context` as its context."""
        return one(ask("rlm", prompts=[text_of(prompt, "prompt")], contexts=[sent(context)])["items"])

    def rlm_batch(prompts, contexts=None, model=None, strict=False):
        """`rlm` for many prompts; `contexts` has one entry a prompt, or is one context for all."""
        prompts = listed(prompts, "prompts")
        if contexts is None or isinstance(contexts, (str, bytes, dict)):
            contexts = [contexts] * len(prompts)
        contexts = list(contexts)
        if len(contexts) != len(prompts):
            raise ValueError("%d contexts for %d prompts; give one each" % (len(contexts), len(prompts)))
        return (
            many(ask("rlm", prompts=prompts, contexts=[sent(c) for c in contexts])["items"], strict) if prompts else []
        )

    def remaining():
        """What is left of the budgets."""
        return ask("remaining")["left"]

    def submit(content):
        """Give the final answer."""
        namespace["answer"] = {"content": content, "ready": True}

    def show_vars():
        """Names and types of your variables."""
        hidden = set(names) | {"context", "context_0", "question", "answer", "history"}
        return {k: type(v).__name__ for k, v in namespace.items() if k not in hidden and not k.startswith("__")}

    names = {
        "llm": llm, "llm_batch": llm_batch, "rlm": rlm, "rlm_batch": rlm_batch, "submit": submit,
        "show_vars": show_vars, "remaining": remaining, "llm_query": llm, "llm_query_batched": llm_batch,
        "rlm_query": rlm, "rlm_query_batched": rlm_batch, "SHOW_VARS": show_vars, "BudgetExceeded": BudgetExceeded,
        "LMError": LMError, "LMFailure": LMFailure,
    }  # fmt: skip
    return names


class Output:
    """Standard output and error of cells: the head is passed on at once, of the rest only the tail is kept.

    A cell that prints without end costs no more than `cap` characters of memory, and what was left out is counted.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, cap, real):
        self.cap, self._real = cap, real
        self._lock = _threading.Lock()
        self.reset()

    def begin(self):
        """Begin a new cell. Whatever was printed since the last one ended stands before the mark."""
        self.reset()
        self._real.write("\0cell %s\0" % _os.urandom(8).hex())

    def reset(self):
        """Forget the last cell."""
        self.room = self.cap - self.cap // 4
        self.tail = ""
        self.dropped = 0

    def write(self, text):
        """Take text; like any text stream."""
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not %s" % type(text).__name__)
        with self._lock:
            head = text[: self.room]
            self.room -= len(head)
            if head:
                self._real.write(head)
            if len(text) > len(head):
                keep = self.cap // 4
                fresh = text[len(head) :]
                self.dropped += max(0, len(self.tail) + len(fresh) - keep)
                self.tail = (self.tail + fresh[-keep:])[-keep:] if len(fresh) < keep else fresh[len(fresh) - keep :]
        return len(text)

    def flush(self):
        """Pass on what is buffered below."""
        self._real.flush()

    def isatty(self):
        """Never a terminal."""
        return False

    def writable(self):
        """A stream that can be written to."""
        return True

    def readable(self):
        """Nothing can be read from it."""
        return False

    def fileno(self):
        """The descriptor below."""
        return self._real.fileno()


class Cells:
    """The namespace and what runs in it.

    Args:
        call: one request to the host.
        real: text stream below standard output.
        output_chars: longest output kept.
        echo: show the value of a last expression.
    """

    def __init__(self, call, real, output_chars, echo):
        self.space = {"__name__": "__main__", "__builtins__": __builtins__}
        self.out = Output(output_chars, real)
        self.echo = echo
        self.count = 0
        self.names = make_names(call, self.space)
        self.answer_chars = 0

    def begin(self, context, question, answer_chars):
        """Set the variables of a conversation."""
        self.answer_chars = answer_chars
        self.space.update(self.names)
        self.space.update(context=context, context_0=context, question=question, history=[])
        self.space["answer"] = {"content": "", "ready": False}

    def run(self, code):
        """Run a cell; what it did, as data."""
        self.count += 1
        self.out.begin()
        status, shown = "ok", ""
        before = _sys.stdout, _sys.stderr
        _sys.stdout = _sys.stderr = self.out
        try:
            shown = self._exec(code)
        except SystemExit as error:
            status, shown = "exit", "SystemExit: %s" % (error.code,)
        except KeyboardInterrupt as error:
            status, shown = "interrupt", _trimmed(error)
        except MemoryError:
            status, shown = "memory", "MemoryError"
        except BaseException as error:
            status, shown = "exception", _trimmed(error)
        finally:
            _sys.stdout, _sys.stderr = before
        try:
            self.out.flush()
        except Exception:
            pass
        shown, cut = _middle(shown, self.out.cap)
        row = {"status": status, "tail": self.out.tail, "dropped": self.out.dropped + cut, "shown": shown}
        row.update(self._report())
        return row

    def _exec(self, code):
        name = "<code %d>" % self.count
        _linecache.cache[name] = (len(code), None, code.splitlines(True), name)
        tree = _ast.parse(code, name)
        last = None
        if self.echo and tree.body and isinstance(tree.body[-1], _ast.Expr):
            last = tree.body.pop()
        exec(compile(tree, name, "exec", dont_inherit=True), self.space)
        if last is None:
            return ""
        value = eval(compile(_ast.Expression(last.value), name, "eval", dont_inherit=True), self.space)
        return "" if value is None else repr(value)

    def _report(self):
        """What `answer` holds, and whether it is ready; functions the cell overwrote are put back."""
        space = self.space
        restored = [name for name in RESERVED if space.get(name) is not self.names[name]]
        for name in restored:
            space[name] = self.names[name]
        out = {"ready": False, "content": "", "kind": "", "restored": restored}
        answer = space.get("answer")
        if not isinstance(answer, dict):
            return out
        try:
            out["ready"] = bool(answer.get("ready"))
            content = answer.get("content")
            out["kind"] = type(content).__name__
            text = as_text(content)
        except BaseException as error:
            out.update(ready=False, problem="answer could not be read: %s" % type(error).__name__)
            return out
        if len(text) <= self.answer_chars:
            out["content"] = text if out["ready"] else text[:10000]
            return out
        if out["ready"]:
            out["problem"] = "the answer has %d characters; at most %d are allowed" % (len(text), self.answer_chars)
            dict.__setitem__(answer, "ready", False)
        out.update(ready=False, content=text[:1000])
        return out


def _trimmed(error):
    """The traceback without frames outside the cells."""
    try:
        kept = [f for f in _traceback.extract_tb(error.__traceback__) if f.filename.startswith("<code ")]
        lines = ["Traceback (most recent call last):\n"] if kept else []
        return "".join(lines + _traceback.format_list(kept) + _traceback.format_exception_only(type(error), error))
    except BaseException:
        return type(error).__name__


def _middle(text, cap):
    """Head and tail of a text that is too long, and how much was left out."""
    if len(text) <= cap:
        return text, 0
    tail = cap // 4
    cut = len(text) - cap
    return "%s\n[... %d characters left out ...]\n%s" % (text[: cap - tail], cut, text[len(text) - tail :]), cut


def as_text(content):
    """The answer as text: strings as they are, numbers by str, lists and dicts as JSON, None as nothing."""
    if isinstance(content, str):
        return str.__str__(content)
    if content is None:
        return ""
    if isinstance(content, (bool, int, float)):
        return str(content)
    if isinstance(content, (set, frozenset)):
        content = sorted(content, key=repr)
    try:
        return _json.dumps(content, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return repr(content)
