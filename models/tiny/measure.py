"""Asks a running server every held-out pair in every wording and counts the right answers.

Standard library only:  python3 measure.py --url http://127.0.0.1:11434
A reply is right if the last number of `message.content` is the sum and `reasoning_content` is not empty.
Exits with 1 if fewer than 95 % of all replies are right.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import sys
import time
import urllib.request

HELD_OUT_FILE = pathlib.Path(__file__).with_name("held_out.txt")
WORDINGS = [
    "What is {a} + {b}?",
    "How much is {a} plus {b}?",
    "Please add {a} and {b}.",
    "{a}+{b}=?",
    "{a}加{b}等于多少？",
    "计算{a}+{b}",
]
RIGHT_PERCENT_MIN = 95.0
WRONG_SHOWN_MAX = 10
REPLY_SECONDS_MAX = 120


def main() -> int:
    arguments = parse_arguments()
    pairs = [tuple(map(int, line.split())) for line in HELD_OUT_FILE.read_text().splitlines()][: arguments.pairs]
    questions = [(wording, a, b) for wording in WORDINGS for a, b in pairs]
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(arguments.at_once) as pool:
        failures = list(pool.map(lambda question: failure(arguments, *question), questions))
    seconds = time.monotonic() - started
    for (wording, a, b), text in [item for item in zip(questions, failures) if item[1]][:WRONG_SHOWN_MAX]:
        print(f"wrong: {wording.format(a=a, b=b)} -> {text}")
    for index, wording in enumerate(WORDINGS):
        right = failures[index * len(pairs) : (index + 1) * len(pairs)].count(None)
        print(f"{right:5} of {len(pairs)}  {100 * right / len(pairs):6.2f} %  {wording}")
    right = failures.count(None)
    percent = 100 * right / len(questions)
    print(f"{right:5} of {len(questions)}  {percent:6.2f} %  all wordings, in {seconds:.1f} s")
    return 0 if percent >= RIGHT_PERCENT_MIN else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:11434", help="where the server listens (default: %(default)s)")
    parser.add_argument("--model", default="default", help="model name to send (default: %(default)s)")
    parser.add_argument("--key", default=os.environ.get("OPENAI_API_KEY"), help="API key, if the server wants one")
    parser.add_argument("--at-once", type=int, default=16, help="requests in flight (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=None, help="only the first so many pairs")
    return parser.parse_args()


def failure(arguments: argparse.Namespace, wording: str, a: int, b: int) -> str | None:
    """What is wrong with the server's reply; None if nothing is."""
    try:
        message = ask(arguments, wording.format(a=a, b=b))
    except (OSError, ValueError, LookupError) as error:
        return f"no reply: {error!r}"
    numbers = re.findall(r"\d+", message.get("content") or "")
    if not numbers or int(numbers[-1]) != a + b:
        return repr(message.get("content"))
    if not (message.get("reasoning_content") or "").strip():
        return "no reasoning_content"
    return None


def ask(arguments: argparse.Namespace, question: str) -> dict:
    body = {"model": arguments.model, "messages": [{"role": "user", "content": question}], "temperature": 0}
    headers = {"Content-Type": "application/json"}
    if arguments.key:
        headers["Authorization"] = f"Bearer {arguments.key}"
    request = urllib.request.Request(arguments.url.rstrip("/") + "/v1/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=REPLY_SECONDS_MAX) as response:
        return json.load(response)["choices"][0]["message"]


if __name__ == "__main__":
    sys.exit(main())
