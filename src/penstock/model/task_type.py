"""The task types that come with Penstock."""

from __future__ import annotations

from enum import StrEnum


class TaskType(StrEnum):
    """Built-in types by name; types of one's own are plain strings."""

    REPOSITORY_ANALYSIS = "repository_analysis"
    BATCH_ANALYSIS = "batch_analysis"
    TEXT_CLASSIFICATION = "text_classification"
    EMBEDDING_GENERATION = "embedding_generation"
    SEMANTIC_SEARCH = "semantic_search"
    LLM_CALL = "llm_call"
    FUNCTION_CALL = "function_call"
    API_REQUEST = "api_request"
    FILE_OPERATION = "file_operation"
    PYTHON = "python"
    AGENT = "agent"
    GOAL = "goal"
