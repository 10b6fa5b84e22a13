# Images that are an interpreter and some files: what agents, tools and the demo's search server run in.
ARG BASE

# Bytecode of the standard library: an agent's root is read-only, and compiling at each start would cost it a third of a second.
FROM ${BASE} AS python
RUN ["python3", "-c", "import compileall, py_compile, sysconfig; compileall.compile_dir(sysconfig.get_path('stdlib'), quiet=1, workers=0, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)"]

FROM python AS files
COPY root /
ENV PATH=/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

# The default image of an Agent: Python and aion_sdk. Agents' own code comes by spec.source or by an image built on this one.
FROM files AS agent-python
ENV PYTHONPATH=/opt/aion
RUN ["python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/opt/aion"]
RUN ["python3", "-c", "import aion_sdk"]
WORKDIR /app
USER 10001:10001
CMD ["python3"]

# The default image of a Tool: the sample tools. Entries of Tools are relative to the working directory.
FROM files AS tools
WORKDIR /srv
USER 10001:10001
CMD ["python3"]

FROM files AS search
WORKDIR /srv
USER 10003:10003
CMD ["python3", "/srv/server.py"]
