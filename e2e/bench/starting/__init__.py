"""The benchmark `agent_start`: how long a sealed Agent takes from apply to Ready, beside what else one could apply."""
