"""Real kills of a process with calls in flight: what was recorded is not paid again."""

import asyncio
import signal
import subprocess
import sys
import textwrap

from penstock.simulator import Latency, Simulator, SimulatorConfig

WORKER = """
    import asyncio, sys
    import httpx2
    from penstock import Manager, Settings, Submission

    async def main():
        manager = Manager(Settings(store=sys.argv[1], durability="normal", max_concurrent=8))

        async def work(context):
            async def one(number):
                messages = [{"role": "user", "content": f"{context.data}.{number}"}]
                reply = await http.post(sys.argv[2], json={"model": "sim", "messages": messages})
                return reply.json()["choices"][0]["message"]["content"]
            return await context.gather(*(one(number) for number in range(4)))

        manager.register("work", work)
        async with manager:
            http = httpx2.AsyncClient(transport=manager.transport())
            if len(sys.argv) > 3:
                await manager.submit_many([Submission("work", n) for n in range(int(sys.argv[3]))])
            await manager.idle()
    asyncio.run(main())
"""


async def test_kill_dash_nine_repays_at_most_the_calls_in_flight(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(textwrap.dedent(WORKER))
    async with Simulator(SimulatorConfig(latency=Latency(0.03))) as simulator:
        url = f"{simulator.base_url}/chat/completions"

        def start(*more):
            return subprocess.Popen(
                [sys.executable, str(script), str(tmp_path / "w.db"), url, *more],
                stderr=subprocess.PIPE,
                text=True,
            )

        worker, kills = start("20"), (15, 40)
        for answered in kills:
            async with asyncio.timeout(20):
                while simulator.stats()["answered"] < answered or simulator.stats()["in_flight"] < 4:
                    assert worker.poll() is None, worker.stderr.read()
                    await asyncio.sleep(0.002)
            worker.send_signal(signal.SIGKILL)
            await asyncio.to_thread(worker.communicate)
            worker = start()
        _, errors = await asyncio.to_thread(worker.communicate, timeout=30)
        assert worker.returncode == 0, errors
        paid = simulator.stats()["paid"]
        assert paid["requests"] == 80
        # A reply that was answered in the instant of the kill may not have been recorded yet.
        assert simulator.stats()["billed"] - 80 <= 8 * len(kills)
