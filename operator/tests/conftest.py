"""Fixtures that more than one package's tests use."""

from apiserver_fixture import apiserver
from launch_fixture import companions, launch

__all__ = ["apiserver", "companions", "launch"]
