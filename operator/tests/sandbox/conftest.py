from launch_fixture import companions, launch

__all__ = ["companions", "launch"]
