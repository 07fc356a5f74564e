"""A process that talks for ever on one thread of a store, and says after each turn that it is kept."""

import sys

from tests.integrations.saver_graphs import chat, said

from penstock.integrations.langgraph import PenstockSaver


def main(path, thread, turns):
    with PenstockSaver.from_store(path) as saver:
        graph = chat(saver)
        config = {"configurable": {"thread_id": thread}}
        begun = len(graph.get_state(config).values.get("messages", ()))
        for n in range(begun, begun + turns):
            graph.invoke(said(n), config)
            print(n, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
