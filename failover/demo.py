"""The demonstration: one orchestrator under a LangChain chain, a LangChain agent and a LlamaIndex query engine.

Three scripted providers run on real loopback ports.  While the questions go on, one goes down, one answers 429 and
one has its key revoked; what happens is printed as it happens, from the orchestrator's own events.
"""

from __future__ import annotations

import sys
import textwrap
import time
from typing import Any

from failover import events
from failover.client import Failover
from failover.errors import ConfigurationError
from failover.settings import CircuitBreaker
from failover.testing import ScriptedProvider, Status, serve

try:
    from langchain.agents import create_agent
    from langchain_core.messages import HumanMessage
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate
    from langchain_core.tools import tool
    from llama_index.core import Document, SummaryIndex

    from langchain_failover import ChatFailover
    from llamaindex_failover import FailoverLLM
except ImportError as error:
    raise ConfigurationError(
        f"the demo needs both frameworks: pip install 'failover[all]' langchain ({error})"
    ) from None

BOLD, DIM, RED, GREEN, YELLOW, CYAN, RESET = (
    f"\033[{code}m" if sys.stdout.isatty() else "" for code in (1, 2, 31, 32, 33, 36, 0)
)

QUESTIONS = (
    "What does a circuit breaker do?",
    "Why reserve money before a call?",
    "What is a half-open circuit?",
    "When is a stream committed?",
    "What is a lease?",
    "Who pays for a cancelled call?",
    "What is full jitter?",
    "Why never sleep while holding a lock?",
    "What is a retry budget?",
    "When does a budget begin anew?",
    "What is a verdict?",
    "Who may see a model's reasoning?",
)

DOCUMENTS = (
    "The breaker opens after five consecutive failures and lets one probe through after thirty seconds.",
    "The budget reserves the worst case before a call and settles the real cost after it.",
)


def run(tell: events.Listener | None = None) -> int:
    """Play the whole demonstration, telling of events by ``tell``; 0 when every question got its answer."""
    openai, anthropic, groq = (ScriptedProvider(name) for name in ("openai", "anthropic", "groq"))
    with serve(openai, anthropic, groq) as servers:
        targets = [
            servers["openai"].target("gpt-6-luna"),
            servers["anthropic"].target("claude-haiku-5-5"),
            servers["groq"].target("openai/gpt-oss-120b"),
        ]
        guard = Failover(targets, budget=0.05, breaker=CircuitBreaker(2, 1.0), listeners=[tell or _tell])
        Show(guard, openai, anthropic, groq).play()
    return 0


def _tell(event: events.Event) -> None:
    """One line for whatever a person would want to know."""
    match event:
        case events.AttemptFinished(target=target, reason="ok", duration=seconds, cost=cost):
            print(f"    {GREEN}●{RESET} {target:<28} answered in {seconds * 1e3:6.1f} ms   ${cost / 1e9:.6f}")
        case events.AttemptFinished(target=target, reason=reason, status=status):
            print(f"    {RED}✗{RESET} {target:<28} {reason}{f' (HTTP {status})' if status else ''}")
        case events.PassedOver(target=target, reason=reason):
            print(f"    {YELLOW}-{RESET} {target:<28} passed over: {reason.replace('_', ' ')}")
        case events.CacheHit(target=target):
            print(f"    {CYAN}○{RESET} {target:<28} from the response cache, free")
        case events.TargetDisabled(target=target):
            print(f"    {RED}■{RESET} {target:<28} switched off until somebody enables it")
        case _:
            pass


class Show:
    """The acts, in order."""

    def __init__(self, guard: Failover, openai: Any, anthropic: Any, groq: Any) -> None:
        self.guard = guard
        self.openai, self.anthropic, self.groq = openai, anthropic, groq
        self.questions = iter(QUESTIONS)

    def play(self) -> None:
        self.act("Three healthy providers under a LangChain chain", self.chain)
        self.act("openai goes down", self.openai.down, self.chain)
        self.act("anthropic answers 429 as well (retry after 2 s)", self.limit, self.chain)
        self.act("openai is back; groq's key is revoked", self.openai.up, self.groq.revoke, self.pause, self.chain)
        self.act("A LangChain agent with a tool; openai dies between its two turns", self.anthropic.up, self.agent)
        self.act("A LlamaIndex query engine, under the same budget and breakers", self.query)
        self.act("The first question again", lambda: self.ask(QUESTIONS[0]))
        self.summary()

    def act(self, title: str, *steps: Any) -> None:
        print(f"\n{BOLD}{title}{RESET}")
        for step in steps:
            step()

    def limit(self) -> None:
        self.anthropic.set(Status(429, retry_after=2))

    def pause(self) -> None:
        """Long enough for an open circuit to let a probe through."""
        time.sleep(1.2)

    def chain(self) -> None:
        for _ in range(3):
            self.ask(next(self.questions))

    def ask(self, question: str) -> None:
        prompt = ChatPromptTemplate.from_messages([("system", "Answer in one sentence."), ("human", "{question}")])
        chain = prompt | ChatFailover(failover=self.guard) | StrOutputParser()
        print(f"  {CYAN}{question}{RESET}")
        self.say(chain.invoke({"question": question}))

    def agent(self) -> None:
        """The provider that asked for the tool is gone when the tool's result comes back."""

        @tool
        def price_of(city: str) -> str:
            """Price of a ticket to a city."""
            self.openai.down()
            return f"A ticket to {city} costs 49 euros."

        question = "What does a ticket to 'Lisbon' cost? Use the tool price_of."
        print(f"  {CYAN}{question}{RESET}")
        model = ChatFailover(failover=self.guard, prefer=["openai:gpt-6-luna"])
        result = create_agent(model, [price_of]).invoke({"messages": [HumanMessage(question)]})
        self.say(result["messages"][-1].text)
        self.openai.up()

    def query(self) -> None:
        engine = SummaryIndex.from_documents([Document(text=text) for text in DOCUMENTS]).as_query_engine(
            llm=FailoverLLM(failover=self.guard)
        )
        question = "How does failover keep within a budget?"
        print(f"  {CYAN}{question}{RESET}")
        self.say(str(engine.query(question)))

    def say(self, text: str) -> None:
        print(f"    {DIM}{textwrap.shorten(text, 100)}{RESET}")

    def summary(self) -> None:
        print(
            f"\n{BOLD}{'target':<30}{'state':<11}{'served':>7}{'failed':>8}{'cached':>8}{'mean':>10}{'spent':>12}{RESET}"
        )
        for each in self.guard.status():
            mean = f"{each.latency * 1e3:.0f} ms" if each.latency else "-"
            print(
                f"{each.name:<30}{each.state:<11}{each.successes:>7}{each.failures:>8}{each.cached:>8}"
                f"{mean:>10}{f'${each.cost:.6f}':>12}"
            )
        budget = self.guard.budget
        if budget is not None:
            used = float(budget.spent / budget.limit)
            bar = "█" * round(used * 40) + "░" * (40 - round(used * 40))
            print(f"\nbudget {bar} ${budget.spent:.6f} of ${budget.limit} today ({used:.2%})")
