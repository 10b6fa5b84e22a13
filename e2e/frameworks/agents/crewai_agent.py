"""A crew of one, as CrewAI's own quick start has it: chat completions, MCP by its adapter, and telemetry left on."""

import os

from crewai import Agent, Crew, Task
from crewai_tools import MCPServerAdapter


def main(question: str) -> str:
    with MCPServerAdapter({"url": os.environ["MCP_URL"], "transport": "streamable-http"}) as tools:
        counter = Agent(
            role="Counter",
            goal="Count words with the tools you have",
            backstory="You count, and you never guess.",
            llm="gpt-4.1-mini",
            tools=tools,
        )
        task = Task(description=question, expected_output="How many words there are.", agent=counter)
        return Crew(agents=[counter], tasks=[task]).kickoff().raw
