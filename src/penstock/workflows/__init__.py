"""Workflows: tasks with dependencies between them, described, checked, built and looked at."""

from penstock.workflows.builder import Workflow, read_workflow
from penstock.workflows.calls import Call, call
from penstock.workflows.definition import NodeDefinition, WorkflowDefinition
from penstock.workflows.nodes import INPUT, ITSELF, Node, text
from penstock.workflows.patterns import map_reduce, parallel, pipeline

__all__ = [
    "INPUT",
    "ITSELF",
    "Call",
    "Node",
    "NodeDefinition",
    "Workflow",
    "WorkflowDefinition",
    "call",
    "map_reduce",
    "parallel",
    "pipeline",
    "read_workflow",
    "text",
]
