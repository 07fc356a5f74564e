"""Where the real traces are: $PENSTOCK_TRACES, or a folder beside the checkout; without them tests skip."""

import os
from functools import cache
from pathlib import Path

import pytest

from penstock.lab import read_trace

CHECKOUT = Path(__file__).resolve().parents[2]
AZURE = "Azure/AzurePublicDataset, AzureLLMInferenceTrace_{}.csv (CC-BY 4.0; Splitwise, ISCA 2024)"
SOURCES = {
    "azure_conv_2023": AZURE.format("conv"),
    "azure_code_2023": AZURE.format("code"),
    "vtc_arena_27tenants": "Ying1123/VTC-artifact, all_results_real.jsonl (Apache-2.0; VTC, OSDI 2024)",
    "mooncake_conversation_2024": "kvcache-ai/Mooncake, conversation_trace.jsonl (Apache-2.0; FAST 2025)",
    "agent_chains": f"chains of calls with the sizes of {AZURE.format('conv')}",
    "agent_dags": f"map-reduce programs with the sizes of {AZURE.format('conv')}",
}


def traces_folder() -> Path:
    given = os.environ.get("PENSTOCK_TRACES")
    return Path(given) if given else CHECKOUT.parent / "shared" / "data"


@cache
def load_trace(name: str):
    file = traces_folder() / f"{name}.csv"
    if not file.is_file():
        pytest.skip(f"no {name}.csv: set PENSTOCK_TRACES to a folder that has it, made from {SOURCES[name]}")
    return read_trace(file)


@pytest.fixture
def real_trace():
    """Load a real trace by name, or skip and say where it comes from."""
    return load_trace
