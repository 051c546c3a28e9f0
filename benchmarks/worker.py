"""One measured run of our SDK: python -m benchmarks.worker SCENARIO URL COUNT TRANSPORT."""

from __future__ import annotations

import json
import sys
import time

import trio

from trio_realtime import IMClient, MessageReceived, TextMessage, open_client

WARM_UP = 500
TEXT = "x" * 120


async def send(tom: IMClient, conversation: str, total: int, in_flight: int) -> None:
    left = total

    async def lane() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await tom.send(conversation, TextMessage(TEXT))

    async with trio.open_nursery() as nursery:
        for _ in range(in_flight):
            nursery.start_soon(lane)


async def receive(tom: IMClient, conversation: str, total: int) -> float:
    with tom.events(MessageReceived, max_buffer=total) as events:
        await tom.send(conversation, TextMessage(f"flood:{total}"))
        await anext(events)
        start = time.perf_counter()
        seen = 1
        async for _event in events:
            seen += 1
            if seen == total:
                break
        return time.perf_counter() - start


async def main(scenario: str, url: str, count: int, transport: str) -> None:
    async with open_client(
        "Tom",
        app_id="benchmark-app-MdYXbMMI",
        app_key="key",
        rtm_servers=[url],
        transport=transport,
    ) as tom:
        conversation = (await tom.create_conversation(["Jerry"])).id
        if scenario == "receive":
            await receive(tom, conversation, WARM_UP)
            elapsed = await receive(tom, conversation, count)
        else:
            in_flight = 64 if scenario == "send_ack_64" else 1
            await send(tom, conversation, WARM_UP, in_flight)
            start = time.perf_counter()
            await send(tom, conversation, count, in_flight)
            elapsed = time.perf_counter() - start
    print(json.dumps({"rate": count / elapsed}))


if __name__ == "__main__":
    _, scenario_, url_, count_, transport_ = sys.argv
    trio.run(main, scenario_, url_, int(count_), transport_)
