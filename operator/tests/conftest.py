"""Fixtures that more than one package's tests use."""

from apiserver_fixture import apiserver

__all__ = ["apiserver"]
