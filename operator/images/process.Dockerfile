# One process of AION-OS: its closure of libraries, its own subpackages, nothing else. Neither stage touches the network:
# the context is staged by e2e/images, which takes every wheel by its hash in uv.lock.
ARG BASE

# A container's root is read-only, so bytecode must be there beforehand, the standard library's too (Debian makes it at
# installation, the official image deletes it): compiling at each start would cost every process a third of a second.
FROM ${BASE} AS python
RUN ["python3", "-c", "import compileall, py_compile, sysconfig; compileall.compile_dir(sysconfig.get_path('stdlib'), quiet=1, workers=0, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)"]

FROM python AS libraries
COPY closure /opt/aion
RUN ["python3", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "/opt/aion"]

FROM python AS code
COPY aion /opt/aion/aion
RUN ["python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/opt/aion/aion"]

FROM python AS process
COPY --from=libraries /opt/aion /opt/aion
COPY --from=code /opt/aion/aion /opt/aion/aion
COPY root /
COPY check.py /opt/
ENV PATH=/usr/local/bin:/usr/bin:/bin PYTHONPATH=/opt/aion PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ARG PROCESS
ARG ABSENT
RUN ["python3", "/opt/check.py"]

FROM process AS gateway
USER 10002:10002
CMD ["python3", "-m", "aion.gateway"]

FROM process AS toolrunner
USER 10002:10002
CMD ["python3", "-m", "aion.toolrunner"]

FROM process AS kernel
USER 10003:10003
CMD ["python3", "-m", "aion.kernel"]

FROM process AS controller
USER 10003:10003
CMD ["python3", "-m", "aion.controller"]

# root, because it writes the kubelet's seccomp folder; it holds no capability (see the chart).
FROM process AS node
USER 0:0
CMD ["python3", "-m", "aion.sandbox"]
