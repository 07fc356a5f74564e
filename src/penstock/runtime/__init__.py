"""The only room with loops: dispatcher, task context, committer, transport and the small services."""
