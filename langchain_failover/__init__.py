"""failover for LangChain: ``ChatFailover``, and LangChain's own models as targets."""

from langchain_failover._register import register
from langchain_failover._target import as_target
from langchain_failover.chat_models import ChatFailover

__all__ = ["ChatFailover", "as_target", "register"]
