"""An agent of the OpenAI Agents SDK, as its own quick start has it: the responses dialect, and tracing left on."""

import asyncio
import os

from agents import Agent, Runner
from agents.mcp import MCPServerStreamableHttp


async def ask(question: str) -> str:
    async with MCPServerStreamableHttp(params={"url": os.environ["MCP_URL"]}, name="tools") as server:
        agent = Agent(name="Counter", instructions="Answer by the tools you have.", mcp_servers=[server])
        result = await Runner.run(agent, question)
    return result.final_output


def main(question: str) -> str:
    return asyncio.run(ask(question))
