"""`LLMJudge`: a language model that scores, compares, clusters and labels, with every failure named."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from ..lm import Completion, LanguageModel, LMBadRequest, LMError, Sampling, Usage, estimate_tokens
from ..schema import RewardStatus
from . import prompts
from .base import Judge, PairQuestion
from .cache import cache_key
from .context import Context, RawVerdict, current_run, failed
from .parsing import PARSER_VERSION, ParseError
from .programmatic import check_all, combine
from .prompts import JudgePrompt
from .replay import shape_record
from .rubric import Rubric
from .textprep import Fitted, fit_response, gate, nonce_of, suspicion_flags
from .types import ErrorInfo, Item, ItemResult, JudgeInfo, as_text

UNHEALTHY_AFTER, UNHEALTHY_S = 5, 30.0
RUNS_REMEMBERED = 1000

# Statuses that say something about another caller's request and not about the question itself.
_NOT_SHARED = (RewardStatus.BUDGET_EXHAUSTED, RewardStatus.CANCELLED)


def _theirs(verdict: RawVerdict) -> bool:
    """Whether a shared verdict failed for a reason of the caller who asked first: its budget or its deadline."""
    own_deadline = verdict.status is RewardStatus.TIMEOUT and not (verdict.error and verdict.error.retryable)
    return verdict.status in _NOT_SHARED or own_deadline


class LLMJudge(Judge):
    """A judge behind the `LanguageModel` protocol: a remote endpoint, a model in this process, or a simulation.

    Args:
        name: what clients call it.
        model: the language model.
        revision: pinned name of the weights; part of every cache key.
        sampling: temperature and token limit of a verdict.
        sample_temperature: used instead when several samples of one verdict are wanted.
        structured: send a JSON schema as response format. Switched off by itself when the server refuses it.
        graded: ask comparisons for scores and not only for a winner.
        char_budget: characters shown of each response (the same for all of a group) and of the prompt.
        overlong: ``trim`` the middle of longer responses, or ``reject`` them as ``truncated_input``.
        min_chars: shorter responses get the lowest score without a call.
        on_model_change: what happens when the endpoint names another model than it did for the same run before:
            ``refuse`` gives an ``upstream_error`` with code ``model_changed`` (two judges must not share one reward
            scale), ``warn`` takes the verdict. Requests without a run count as one run.
    """

    kind = "llm"
    paid = True
    capabilities = ("score", "compare", "listwise", "same:answer", "same:semantic", "same:strategy", "cluster", "label")

    def __init__(
        self,
        name: str,
        model: LanguageModel,
        *,
        revision: str | None = None,
        sampling: Sampling | None = None,
        sample_temperature: float = 0.7,
        structured: bool = True,
        graded: bool = True,
        char_budget: int = 24_000,
        overlong: Literal["trim", "reject"] = "trim",
        min_chars: int = 1,
        on_model_change: Literal["refuse", "warn"] = "refuse",
    ):
        super().__init__(name)
        if char_budget < 200:
            raise ValueError(f"char_budget is {char_budget}; a judge needs to see at least 200 characters")
        self.model = model
        self.revision = revision
        self.sampling = sampling or Sampling(temperature=0.0, max_tokens=1024)
        self.sample_temperature = sample_temperature
        self.structured = structured
        self.graded = graded
        self.char_budget: int = char_budget
        self.overlong = overlong
        self.min_chars = min_chars
        self.on_model_change = on_model_change
        self._frozen: OrderedDict[str, str] = OrderedDict()  # run -> the model that answered first
        self._failures = 0  # calls in a row that the endpoint did not answer
        self._failed_at = 0.0

    def info(self) -> JudgeInfo:
        """Who this is."""
        return JudgeInfo(
            name=self.name,
            kind=self.kind,
            model=self.model.name,
            revision=self.revision,
            capabilities=self.capabilities,
        )

    def calls_per_item(self, rubric: Rubric) -> int:
        """One call for all criteria together; none if all of them are checks."""
        return 1 if rubric.asked else 0

    def price_of(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Dollars for so many tokens; None when the model has no price."""
        price = getattr(self.model, "price", None)
        return None if price is None else price.cost(prompt_tokens, completion_tokens)

    async def healthy(self) -> bool:
        """False for half a minute after five calls in a row that the endpoint did not answer. Nothing is sent."""
        return self._failures < UNHEALTHY_AFTER or time.monotonic() - self._failed_at > UNHEALTHY_S

    # ---- operations
    async def score_item(self, item: Item, rubric: Rubric, context: Context, *, sample: int = 0) -> ItemResult:
        """One call for all asked criteria; checks run here; a failed required check needs no call."""
        text = as_text(item.response)
        flags = suspicion_flags(text)
        reason = gate(text, self.min_chars)
        if reason is not None:
            low = rubric.scale[0]
            error = ErrorInfo(code="gated", message=reason)
            return ItemResult(
                id=item.id, status=RewardStatus.GATED, score=low, reward=0.0, flags=[*flags, "gated"], error=error
            )
        checked = await asyncio.to_thread(check_all, rubric.checked, item) if rubric.checked else {}
        vetoed = any(c.required and (checked[c.name].score or 0) < 1 for c in rubric.checked)
        if not rubric.asked or vetoed:
            result = combine(item.id, rubric, checked, {} if rubric.asked else None)
            result.flags = [*flags, *result.flags]
            return result
        fitted = fit_response(item.response, self.char_budget)
        if fitted.truncated and self.overlong == "reject":
            return ItemResult(id=item.id, status=RewardStatus.TRUNCATED_INPUT, flags=flags, error=self._overlong(text))
        prompt = self._prompt_text(as_text(item.prompt))
        question = prompts.pointwise(rubric, prompt, fitted.text, item.reference)
        raw = await self.judge(question, context, data=[text], sample=sample, tag={"op": "score", "item": item.id})
        if raw.ok and raw.values is not None:
            result = combine(item.id, rubric, checked, raw.values["scores"])
        else:
            result = ItemResult(id=item.id, status=raw.status, error=raw.error)
        result.cached, result.calls, result.flags = raw.cached, raw.calls, [*flags, *result.flags]
        if fitted.truncated:
            result.truncated, result.kept_chars = True, fitted.kept_chars
        return result

    async def compare(self, question: PairQuestion, context: Context) -> RawVerdict:
        """One call, in the order given."""
        shown = self._pair_texts(question)
        if isinstance(shown, RawVerdict):
            return shown
        prompt = prompts.pairwise(
            self._prompt_text(question.prompt), *shown, reference=question.reference, graded=self.graded,
            allow_tie=question.allow_tie, guidance=guidance_of(question.rubric),
        )  # fmt: skip
        raw = await self.judge(
            prompt, context, data=[question.first, question.second], tag=question.tag, check=_winner_matches_scores
        )
        if not raw.ok or raw.values is None:
            return raw
        values = raw.values
        read = {"winner": {"1": "first", "2": "second"}.get(values["winner"], "tie")}
        if self.graded:
            read |= {"score_first": values["score_1"], "score_second": values["score_2"]}
        return replace(raw, values=read)

    async def same(self, question: PairQuestion, scope: str, context: Context) -> RawVerdict:
        """One call; a confidence, when given, becomes the probability."""
        shown = self._pair_texts(question)
        if isinstance(shown, RawVerdict):
            return shown
        prompt = prompts.same(self._prompt_text(question.prompt), *shown, scope)
        raw = await self.judge(prompt, context, data=[question.first, question.second], tag=question.tag)
        if not raw.ok or raw.values is None:
            return raw
        # A confidence below one half contradicts the word; the word counts, as the least certain of its kind.
        sure = max(0.5, raw.values.get("confidence", 1.0))
        return replace(raw, values={"p_same": sure if raw.values["verdict"] == "same" else 1 - sure})

    async def listwise(
        self, prompt: str, responses: Mapping[str, str], reference: Any, rubric: Rubric | None, context: Context
    ) -> RawVerdict:
        """One call for up to a handful of responses, told apart by labels that are mapped back to ids."""
        labels = {f"R{i + 1}": key for i, key in enumerate(responses)}
        shown = {label: self._fit(responses[key]).text for label, key in labels.items()}
        question = prompts.listwise(self._prompt_text(prompt), shown, reference=reference, guidance=guidance_of(rubric))
        raw = await self.judge(
            question, context, data=list(responses.values()), tag={"op": "listwise", "ids": list(responses)}
        )
        if not raw.ok or raw.values is None:
            return raw
        return replace(raw, values={"scores": {labels[k]: v for k, v in raw.values["scores"].items()}})

    async def cluster(self, prompt: str, responses: Mapping[str, str], scope: str, context: Context) -> RawVerdict:
        """One call; unknown labels are kept as they are, for the caller's check to find."""
        labels = {f"R{i + 1}": key for i, key in enumerate(responses)}
        shown = {label: self._fit(responses[key]).text for label, key in labels.items()}
        question = prompts.cluster(self._prompt_text(prompt), shown, scope)
        raw = await self.judge(
            question, context, data=list(responses.values()), tag={"op": "cluster", "ids": list(responses)}
        )
        if not raw.ok or raw.values is None:
            return raw
        named = [[labels.get(label, label) for label in row] for row in raw.values["clusters"]]
        return replace(raw, values={"clusters": named})

    async def label(self, instructions: str, item: Item, labels: Sequence[str], context: Context) -> RawVerdict:
        """One call."""
        text = as_text(item.response)
        question = prompts.label(
            instructions, self._prompt_text(as_text(item.prompt)), self._fit(text).text, labels, item.reference
        )
        return await self.judge(question, context, data=[text], tag={"op": "label", "item": item.id})

    # ---- one question
    async def judge(
        self,
        prompt: JudgePrompt,
        context: Context,
        *,
        data: Sequence[str] = (),
        sample: int = 0,
        tag: Mapping[str, Any] | None = None,
        check: Callable[[dict[str, Any]], None] | None = None,
    ) -> RawVerdict:
        """Ask one question: cache, coalescing, budget, call, parsing, one repair turn, log.

        Args:
            prompt: messages and the shape of the verdict.
            context: deadline, budget and account of the request.
            data: judged texts, whose echoes in the reply are not verdicts.
            sample: number of the sample when several verdicts on one question are wanted.
            tag: what the question was about, for the log.
            check: raises `ParseError` for verdicts that contradict themselves.

        Returns:
            The verdict, or the status that says why there is none. Raises only on cancellation.
        """
        started = time.monotonic()
        sampling = self._sampling(context, sample)
        response_format = prompt.shape.json_schema() if self.structured else None
        key = cache_key(
            self.name, f"{self.model.name}@{self.revision}", list(prompt.messages), sampling.to_dict(),
            prompt.shape.json_schema(), sample,
        )  # fmt: skip
        cache = self.runtime.cache
        if cache is not None and context.cache in ("use", "only"):
            stored = cache.get(key)
            if stored is not None and (context.cache == "only" or self._is_frozen(context, stored.get("model"))):
                context.usage.cache_hits += 1
                self._observe("cached", started)
                return RawVerdict(RewardStatus.OK, stored["values"], cached=True, model=stored.get("model"))
        if context.cache == "only":
            return failed(RewardStatus.UNSCORED, "not in the cache, and cache is 'only'", code="cache_miss")

        async def work() -> RawVerdict:
            return await self._ask(prompt, context, sampling, response_format, key, data, tag or {}, check)

        try:
            async with asyncio.timeout(context.remaining_s()):
                while True:
                    if context.cache == "off":
                        verdict, leader = await work(), True
                    else:
                        verdict, leader = await self.runtime.flights.run(key, work)
                    if leader or not _theirs(verdict):
                        break
        except TimeoutError:
            context.timed_out = True
            verdict, leader = failed(RewardStatus.TIMEOUT, "the deadline of the request passed", retryable=True), True
        if verdict.status is RewardStatus.TIMEOUT and context.remaining_s() < 0.01:
            context.timed_out = True  # the model's deadline was the request's, and may strike a moment earlier
        if not leader:
            context.usage.cache_hits += 1
            verdict = replace(verdict, cached=True, used=Usage())
        self._observe(verdict.status.value if leader else "coalesced", started, leader and verdict.repaired)
        return verdict

    async def _ask(
        self,
        prompt: JudgePrompt,
        context: Context,
        sampling: Sampling,
        response_format: dict[str, Any] | None,
        key: str,
        data: Sequence[str],
        tag: Mapping[str, Any],
        check: Callable[[dict[str, Any]], None] | None,
    ) -> RawVerdict:
        current_run.set(context.run_id)
        messages: list[dict[str, str]] = list(prompt.messages)
        used = Usage()
        problem = ""
        answer: Completion | None = None
        for turn in range(2):
            if turn:  # the repair turn: ask again, differently, or the same failure would come back
                context.counts["repaired"] += 1
                messages = [
                    *prompt.messages,
                    {"role": "assistant", "content": (answer.text if answer else "")[-4000:] or "..."},
                    {"role": "user", "content": prompts.repair(prompt, problem)},
                ]
                sampling = replace(
                    sampling, temperature=max(0.5, sampling.temperature or 0.0), seed=(sampling.seed or 0) + 7919
                )
            answer_or_error = await self._send(messages, sampling, response_format, context)
            if isinstance(answer_or_error, RawVerdict):
                verdict = replace(answer_or_error, used=used + answer_or_error.used)
                self._log(context, tag, key, prompt, answer, verdict, verdict.calls)
                return verdict
            answer = answer_or_error
            used += replace(answer.usage, calls=answer.attempts)
            try:
                values = prompt.shape.read(answer.text, data)
                if check is not None:
                    check(values)
            except ParseError as error:
                problem = str(error)
                self._log(context, tag, key, prompt, answer, failed(RewardStatus.PARSE_ERROR, problem), used.calls)
                continue
            verdict = RawVerdict(RewardStatus.OK, values, model=answer.model, repaired=turn > 0, used=used)
            changed = self._watch_model(answer, context)
            if changed is not None:
                self._log(context, tag, key, prompt, answer, changed, used.calls)
                return replace(changed, used=used)
            if self.runtime.cache is not None and context.cache != "off":
                stored = {"values": values, "model": answer.model, "fingerprint": answer.system_fingerprint}
                self.runtime.cache.put(key, stored)
            self._log(context, tag, key, prompt, answer, verdict, used.calls)
            return verdict
        cut = answer is not None and answer.finish_reason == "length"
        code = "truncated_output" if cut else "malformed_output"
        return replace(failed(RewardStatus.PARSE_ERROR, problem, code=code), used=used, repaired=True)

    async def _send(
        self,
        messages: list[dict[str, str]],
        sampling: Sampling,
        response_format: dict[str, Any] | None,
        context: Context,
    ) -> Completion | RawVerdict:
        """One call within the budget; a `RawVerdict` says why there is no completion."""
        estimate = estimate_tokens({"messages": messages, "max_tokens": sampling.max_tokens})
        for wanted in (response_format, None) if response_format else (None,):
            if not context.meter.reserve(estimate):
                return failed(RewardStatus.BUDGET_EXHAUSTED, "the budget of the request is used up")
            try:
                answer = await self.model.complete(
                    messages,
                    replace(sampling, response_format=wanted) if wanted else sampling,
                    deadline_s=context.remaining_s(),
                    may_retry=lambda: context.meter.reserve(estimate),
                )
            except LMBadRequest as error:
                if wanted is not None and self.structured and error.status is RewardStatus.INVALID_INPUT:
                    self.structured = False  # this server knows no response format; the words ask for the same
                    continue
                return self._failure(error, estimate, context)
            except LMError as error:
                return self._failure(error, estimate, context)
            self._failures = 0
            context.meter.settle(estimate, answer.usage)
            context.spend(replace(answer.usage, calls=answer.attempts))
            return answer
        raise AssertionError("unreachable: the last attempt returns or fails")

    def _failure(self, error: LMError, estimate: int, context: Context) -> RawVerdict:
        used = replace(error.usage, calls=error.attempts)
        context.meter.settle(estimate, used)
        context.spend(used)
        status = error.status
        answered = status in (RewardStatus.REFUSAL, RewardStatus.PARSE_ERROR, RewardStatus.TRUNCATED_INPUT)
        self._failures = 0 if answered else self._failures + 1
        self._failed_at = time.monotonic()
        if status is RewardStatus.INVALID_INPUT:
            # The judge's own configuration is at fault (unknown model, bad parameter), not the item.
            status = RewardStatus.UPSTREAM_ERROR
        code = "truncated_output" if status is RewardStatus.PARSE_ERROR else error.code
        return replace(failed(status, str(error), code=code, retryable=error.retryable), used=used)

    # ---- small things
    def _watch_model(self, answer: Completion, context: Context) -> RawVerdict | None:
        """Hold on to the model that answers a run. Gives the failure when it changes and that is not allowed.

        Another name than the one asked for is a warning: servers know models by aliases and dated revisions.
        """
        asked, got = self.model.name.rpartition("/")[2], answer.model.rpartition("/")[2]
        if not got.startswith(asked):
            context.warnings.append(f"judge {self.name!r} asked model {self.model.name!r}, {answer.model!r} answered")
        first = self._frozen.setdefault(context.run_id, answer.model)
        self._frozen.move_to_end(context.run_id)
        if len(self._frozen) > RUNS_REMEMBERED:
            self._frozen.popitem(last=False)
        if first == answer.model:
            return None
        change = f"judge {self.name!r}: model {first!r} answered this run before, now {answer.model!r}"
        if self.on_model_change == "warn":
            context.warnings.append(change)
            return None
        return failed(
            RewardStatus.UPSTREAM_ERROR, f"{change}; start a new run_id, or set on_model_change = \"warn\"",
            code="model_changed",
        )  # fmt: skip

    def _is_frozen(self, context: Context, model: str | None) -> bool:
        """Whether a stored verdict may stand beside the other verdicts of this run."""
        first = self._frozen.get(context.run_id)
        return first is None or model is None or model == first or self.on_model_change == "warn"

    def _sampling(self, context: Context, sample: int) -> Sampling:
        temperature = self.sampling.temperature if sample == 0 else max(
            self.sample_temperature, self.sampling.temperature or 0.0
        )  # fmt: skip
        return replace(self.sampling, temperature=temperature, seed=context.seed + sample)

    def _prompt_text(self, prompt: str) -> str:
        return fit_response(prompt, self.char_budget).text

    def _fit(self, text: str) -> Fitted:
        return fit_response(text, self.char_budget)

    def _pair_texts(self, question: PairQuestion) -> tuple[str, str] | RawVerdict:
        fitted = [fit_response(r, self.char_budget) for r in question.sources or (question.first, question.second)]
        if self.overlong == "reject" and any(f.truncated for f in fitted):
            return failed(RewardStatus.TRUNCATED_INPUT, self._overlong(question.first).message)
        return fitted[0].text, fitted[1].text

    def _overlong(self, text: str) -> ErrorInfo:
        return ErrorInfo(
            code="truncated_input", message=f"{len(text)} characters; judge {self.name!r} takes {self.char_budget}"
        )

    def _observe(self, outcome: str, started: float, repaired: bool = False) -> None:
        if self.runtime.observer is not None:
            self.runtime.observer.call(self.name, outcome, time.monotonic() - started, repaired)

    def _log(
        self,
        context: Context,
        tag: Mapping[str, Any],
        key: str,
        prompt: JudgePrompt,
        answer: Completion | None,
        verdict: RawVerdict,
        attempt: int,
    ) -> None:
        log = self.runtime.log
        if log is None:
            return
        record: dict[str, Any] = {
            "request_id": context.request_id, "run_id": context.run_id, "judge": self.name, "revision": self.revision,
            "model": answer.model if answer else self.model.name, "key": key, "tag": dict(tag),
            "prompt_sha": nonce_of(*(m["content"] for m in prompt.messages)), "parser": PARSER_VERSION,
            "shape": shape_record(prompt.shape), "output": answer.text if answer else None,
            "verdict": verdict.values, "status": verdict.status.value, "attempt": attempt,
            "error": verdict.error.message if verdict.error else None,
            "usage": vars(answer.usage) if answer else None, "seed": context.seed,
            "fingerprint": answer.system_fingerprint if answer else None,
        }  # fmt: skip
        if log.bodies:
            record["messages"] = list(prompt.messages)
        log.append(record)


def guidance_of(rubric: Rubric | None) -> str:
    """The criteria of a rubric as guidance for comparisons."""
    if rubric is None:
        return ""
    rows = [f"- {c.name} (weight {c.weight:g}): {c.description}" for c in rubric.asked]
    return "\n".join([rubric.instructions, "Criteria:", *rows]).strip() if rows else rubric.instructions


def _winner_matches_scores(values: dict[str, Any]) -> None:
    if "score_1" not in values:
        return
    one, two = values["score_1"], values["score_2"]
    contradicts = (values["winner"] == "1" and one < two) or (values["winner"] == "2" and two < one)
    if contradicts or (values["winner"] == "tie" and abs(one - two) > 1):
        raise ParseError(f"winner is {values['winner']!r} but the scores are {one:g} and {two:g}")
