# redis-server without shell or package manager. With docker the base is the official image.
ARG BASE
FROM ${BASE} AS redis
USER 10003:10003
WORKDIR /data
ENTRYPOINT []
CMD ["redis-server", "--save", "", "--appendonly", "no"]
