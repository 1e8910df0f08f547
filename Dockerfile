# One image for the servers and the trainer; the command chooses.
#   docker build -t palaestra .                                       # servers only: no torch
#   docker build -t palaestra-train --build-arg EXTRAS=train,math .  # with the trainer
#   docker run --rm -p 127.0.0.1:8300:8300 -e PALAESTRA_TOKEN=a-long-secret palaestra serve envs --host 0.0.0.0
ARG BASE=python:3.12-slim
FROM ${BASE}

ARG EXTRAS=math
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/venv/bin:$PATH

COPY . /opt/palaestra
# The image holds the package and not the checkout. websockets: OpenEnv clients. The extra `tasks` needs a compiler, which
# slim images lack: give a BASE that has gcc.
ARG PIP_EXTRA_INDEX_URL=
RUN python3 -m venv /opt/venv \
 && pip install --quiet -c /opt/palaestra/constraints.txt "/opt/palaestra[${EXTRAS}]" websockets \
 && rm -rf /opt/palaestra

# Servers need no privileges. Docker's defaults deny the namespaces that the sandbox needs, so an environment that runs
# code (palaestra/Code-v0) says so and scores nothing here: serve it outside of a container, or see docs/sandbox.md.
RUN mkdir -p /work && chown 10001:10001 /work
USER 10001:10001
WORKDIR /work
EXPOSE 8300 8400
ENTRYPOINT ["palaestra"]
CMD ["--help"]
