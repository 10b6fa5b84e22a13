"""A LangGraph agent, as LangGraph's and its MCP adapters' own quick starts have it."""

import asyncio
import os

from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition


async def graph():
    client = MultiServerMCPClient({"tools": {"transport": "streamable_http", "url": os.environ["MCP_URL"]}})
    tools = await client.get_tools()
    model = ChatOpenAI(model="gpt-4.1-mini").bind_tools(tools)

    async def call_model(state: MessagesState):
        return {"messages": await model.ainvoke(state["messages"])}

    builder = StateGraph(MessagesState)
    builder.add_node(call_model)
    builder.add_node(ToolNode(tools))
    builder.add_edge(START, "call_model")
    builder.add_conditional_edges("call_model", tools_condition)
    builder.add_edge("tools", "call_model")
    return builder.compile()


async def ask(question: str) -> str:
    state = await (await graph()).ainvoke({"messages": question})
    return state["messages"][-1].text


def main(question: str) -> str:
    return asyncio.run(ask(question))
