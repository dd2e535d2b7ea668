"""``FailoverLLM``: a LlamaIndex LLM over several providers that survives what each of them does.

``as_target`` makes any other LlamaIndex LLM one of its targets.
"""

try:
    from llama_index.core.llms.loading import RECOGNIZED_LLMS
except ImportError as error:
    raise ImportError("llamaindex_failover needs LlamaIndex: pip install 'failover[llamaindex]'") from error

from llamaindex_failover._structured import StructuredOutputError
from llamaindex_failover._target import as_target
from llamaindex_failover.llm import FailoverLLM

# LlamaIndex reads LLMs back from dicts (of extractors, pipelines) only if it finds their class here.
RECOGNIZED_LLMS.setdefault(FailoverLLM.class_name(), FailoverLLM)

__all__ = ["FailoverLLM", "StructuredOutputError", "as_target"]
