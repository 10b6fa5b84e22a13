"""Fixtures that more than one package's tests use, and what holds for every property test."""

from hypothesis import settings

from apiserver_fixture import apiserver
from launch_fixture import companions, launch
from tunnel_fixture import sealed

settings.register_profile("aion", deadline=None)  # how long an example takes is the machine's business, never a verdict
settings.load_profile("aion")

__all__ = ["apiserver", "companions", "launch", "sealed"]
