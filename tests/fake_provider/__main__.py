import argparse
import asyncio
import contextlib

from tests.fake_provider.provider import FakeProvider


async def _serve(port: int) -> None:
    async with FakeProvider(port=port) as fake:
        print(fake.url, flush=True)  # noqa: T201  its standard output is for whoever started it
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A fake provider; prints the URL to use as api_base.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args().port))
