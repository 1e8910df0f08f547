import pytest

from palaestra.judges import JudgeService, LLMJudge, ProgrammaticJudge
from palaestra.judges.base import Runtime
from palaestra.judges.cache import VerdictCache
from palaestra.judges.testing import FakeOpenAI
from palaestra.lm import OpenAIModel


@pytest.fixture
def fake():
    """Starts fake model servers and stops them."""
    started = []

    def start(*args, **kwargs):
        started.append(FakeOpenAI(*args, **kwargs).start())
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def llm_service():
    """A service whose judge ``llm`` is the default and asks a fake server."""
    caches = []

    def make(server, *, cache=False, model=None, **options):
        lm = OpenAIModel("any", base_url=server.url, **{"backoff_s": 0.01, "deadline_s": 20, **(model or {})})
        runtime = Runtime(cache=VerdictCache()) if cache else Runtime()
        caches.append(runtime.cache)
        return JudgeService([LLMJudge("llm", lm, **options), ProgrammaticJudge()], runtime=runtime)

    yield make
    for cache in caches:
        if cache is not None:
            cache.close()
