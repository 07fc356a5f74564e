"""Tasks of a tenant stay in a folder of their own."""

import pytest

from penstock import AITaskManager, APIConfig, OpenAICompatibleClient, TaskConfig, TaskFailed, TaskType
from penstock.task_types.file_operation import root_of


def test_no_name_of_a_tenant_leads_elsewhere(tmp_path):
    names = ["acme", "..", ".", "a/b", "a\\b", "x" * 5000, "ä" * 300, "a\0b", "@", "a%2fb"]
    folders = {root_of(tmp_path, name) for name in names}
    assert len(folders) == len(names)
    assert all(folder.parent == tmp_path and folder.name.startswith("@") for folder in folders)
    assert root_of(tmp_path, "") == tmp_path


async def test_tenants_do_not_see_each_other(tmp_path):
    client = OpenAICompatibleClient(APIConfig("none", "http://127.0.0.1:9/v1"))
    async with AITaskManager(client, store="memory", file_root=tmp_path) as manager:

        async def do(tenant, operation, filename, **more):
            data = {"operation": operation, "filename": filename, **more}
            config = TaskConfig(tenant=tenant, max_retries=0)
            id = await manager.submit_task(TaskType.FILE_OPERATION, data, config=config)
            return await manager.wait_for_task(id, timeout=10)

        await do("acme", "write", "plan.txt", content="ours")
        await do("beta", "write", "plan.txt", content="theirs")
        assert (await do("acme", "read", "plan.txt"))["content"] == "ours"
        assert [one["name"] for one in (await do("beta", "list", None))["entries"]] == ["plan.txt"]
        with pytest.raises(TaskFailed):
            await do("beta", "read", "@acme/plan.txt")
        assert (await do("", "read", "@acme/plan.txt"))["content"] == "ours"
