"""What LobeChat and Dify send, word for word, against a running tandem, and the reply read as they read it.

`tests/clients/with_store` starts the server.
"""

import json
import os
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

ADDRESS = urlsplit(os.environ["TANDEM_URL"]).netloc
CARD = "deepseek-r1-distill-qwen-32b"
QUESTION = "What is 3 + 4?"
ANSWER = "3 + 4 = 7."
TALK = [{"role": "system", "content": "s"}, {"role": "user", "content": QUESTION}]

OPENAI_HEADERS = {
    "Authorization": "Bearer sk-local-1",
    "Accept": "*/*",
    "Content-Type": "application/json",
    "User-Agent": "OpenAI/JS 4.77.3",
    "x-stainless-lang": "js",
    "x-stainless-package-version": "4.77.3",
    "x-stainless-os": "Linux",
    "x-stainless-arch": "x64",
    "x-stainless-runtime": "node",
    "x-stainless-runtime-version": "v20.18.1",
    "x-stainless-retry-count": "0",
    "x-stainless-timeout": "600000",
    "accept-encoding": "gzip,deflate",
}
OLLAMA_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "User-Agent": "ollama-js/0.5.12 (x64 linux Node.js/v20.18.1)",
}


def call(path, request=None, headers=OPENAI_HEADERS, indent=None):
    """The whole reply: its status, its headers and its text. Without a request it is a GET."""
    connection = HTTPConnection(ADDRESS, timeout=60)
    try:
        body = None if request is None else json.dumps(request, indent=indent, ensure_ascii=False).encode()
        connection.request("GET" if request is None else "POST", path, body, headers)
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read().decode()
    finally:
        connection.close()


def read(path, request=None, headers=OPENAI_HEADERS):
    status, found, text = call(path, request, headers)
    assert status == 200, text
    assert found.get_content_type() == "application/json"
    return json.loads(text)


def chunks(path, request):
    """The chunks of a stream of chat completions, split as Dify does."""
    status, headers, text = call(path, request, indent=2)
    assert status == 200, text
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert headers["Cache-Control"] == "no-cache" and headers["X-Accel-Buffering"] == "no"
    assert headers["Content-Encoding"] is None and "\r" not in text
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    assert blocks[-1] == "data: [DONE]"
    assert all(block.startswith("data: {") and "\n" not in block for block in blocks[:-1])
    return [json.loads(block.removeprefix("data: ")) for block in blocks[:-1]]


def thought_and_answer(chunks):
    """Read as LobeChat reads them: of a delta that has both, it loses one, and all of the chunk that ends the reply."""
    thought, answer = "", ""
    for chunk in chunks:
        for choice in chunk["choices"]:
            delta = choice["delta"]
            assert None not in delta.values()
            if choice["finish_reason"]:
                assert not delta.get("content") and not delta.get("reasoning_content")
            assert not (delta.get("content") and delta.get("reasoning_content"))
            thought += delta.get("reasoning_content", "")
            answer += delta.get("content", "")
    return thought, answer


def chat(**more):
    sampling = {"temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0, "user": "u1"}
    return {"model": CARD, "messages": TALK, "stream": True, **sampling, **more}


# Beside what they send, as its own temperature would let this small model say anything.
GREEDY = {"temperature": 0}


@pytest.mark.parametrize("prefix", ["/v1", ""])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"stream_options": {"include_usage": True}},
        {
            "reasoning_effort": "medium",
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "verbosity": "low",
            "prompt_cache_key": "k",
            "safety_identifier": "u1",
        },
    ],
    ids=["1.60", "1.143", "fields of newer ones"],
)
def test_lobechat_gets_thought_and_answer_apart(prefix, more):
    found = chunks(f"{prefix}/chat/completions", chat(**more, **GREEDY))
    assert found[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    thought, answer = thought_and_answer(found)
    assert answer == ANSWER and thought.startswith("I add 3 and 4.")
    assert all(chunk["object"] == "chat.completion.chunk" and chunk["id"] == found[0]["id"] for chunk in found)
    ends = [choice["finish_reason"] for chunk in found for choice in chunk["choices"] if choice["finish_reason"]]
    assert ends == ["stop"]
    has_usage = [bool(chunk.get("usage")) for chunk in found]
    assert has_usage == [False] * (len(found) - 1) + ["stream_options" in more]


def test_lobechats_own_temperature_is_taken():
    thought, answer = thought_and_answer(chunks("/v1/chat/completions", chat()))
    assert thought or answer


def test_lobechat_sends_earlier_thoughts_back():
    earlier = [
        {"role": "user", "content": "What is 12 + 34?"},
        {"role": "assistant", "content": "12 + 34 = 46.", "reasoning_content": "I add.", "reasoning": "I add."},
    ]
    inline = [earlier[0], {"role": "assistant", "content": "<think>\nI add.\n</think>\n\n12 + 34 = 46."}]
    for history in (earlier, inline):
        messages = [*history, {"role": "user", "content": [{"type": "text", "text": "and plus 5?"}]}]
        assert thought_and_answer(chunks("/v1/chat/completions", chat(messages=messages, **GREEDY)))[1] == "46 + 5 = 51."


def test_a_picture_is_refused():
    url = {"detail": "auto", "url": "data:image/png;base64,iVBORw0KGgo="}
    content = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": url}]
    status, _, text = call("/v1/chat/completions", chat(messages=[{"role": "user", "content": content}]))
    assert status == 400
    error = json.loads(text)["error"]
    assert error["type"] == "invalid_request_error" and "image" in error["message"]


def test_the_cards_name_is_answered_to():
    models = read("/v1/models")
    assert models["object"] == "list" and models == read("/models")
    assert all(model.keys() >= {"id", "object", "created", "owned_by"} for model in models["data"])
    assert models["data"][0]["id"] == "deepseek-r1:32b"


def test_lobechats_ollama_provider_gets_the_thought_in_the_text():
    options = {"frequency_penalty": 0, "presence_penalty": 0, "temperature": 0.5, "top_p": 1}
    request = {"messages": TALK, "model": "deepseek-r1:32b", "options": options, "stream": True}
    for model in ("deepseek-r1:32b", "deepseek-r1"):
        greedy = {**request, "model": model, "options": {**options, **GREEDY}}
        status, headers, text = call("/api/chat", greedy, OLLAMA_HEADERS)
        assert status == 200, text
        assert headers.get_content_type() == "application/x-ndjson"
        assert text.endswith("\n") and "\n\n" not in text and "\r" not in text
        lines = [json.loads(line) for line in text.splitlines()]
        pieces = [line["message"]["content"] for line in lines]
        # It looks for the tags in single chunks.
        opening, closing = (next(piece for piece in pieces if tag in piece) for tag in ("<think>", "</think>"))
        assert (opening.strip(), closing.strip()) == ("<think>", "</think>")
        assert "".join(pieces).startswith("<think>\nI add 3 and 4.") and "".join(pieces).endswith(f"</think>\n\n{ANSWER}")
        assert all("error" not in line and "thinking" not in line["message"] for line in lines)
        assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
        assert pieces[-1] == ""
    status, _, text = call("/api/chat", request, OLLAMA_HEADERS)
    assert status == 200 and json.loads(text.splitlines()[-1])["done"]


def test_lobechats_ollama_provider_lists_embeds_and_pulls():
    assert "deepseek-r1:32b" in [model["name"] for model in read("/api/tags", headers=OLLAMA_HEADERS)["models"]]
    embedded = read("/api/embeddings", {"model": "deepseek-r1:32b", "prompt": "hello"}, OLLAMA_HEADERS)
    assert len(embedded["embedding"]) == 256
    status, _, text = call("/api/pull", {"insecure": False, "model": "deepseek-r1:32b", "stream": True}, OLLAMA_HEADERS)
    assert status == 200 and json.loads(text.splitlines()[-1]) == {"status": "success"}
    status, _, text = call("/api/chat", {"model": "llama3", "messages": TALK}, OLLAMA_HEADERS)
    error = json.loads(text)["error"]
    assert status == 404 and isinstance(error, str) and "llama3" in error and "not found" in error


def events(request):
    """The events of a response, each with its own name."""
    status, headers, text = call("/v1/responses", request)
    assert status == 200, text
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8" and "\r" not in text
    found = []
    for block in text.split("\n\n"):
        if not block or block.startswith(":"):
            continue
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found


def test_lobehub_2_gets_a_response_with_its_thought():
    talk = [{"role": "developer", "content": "s"}, {"role": "user", "content": QUESTION}]
    request = {"stream": True, "temperature": 1, "top_p": 1, "model": CARD, "input": talk, "store": False}
    found = events({**request, **GREEDY})
    kinds = [event["type"] for event in found]
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"
    order = [
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.output_item.done",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
    ]
    assert [kinds.index(kind) for kind in order] == sorted(kinds.index(kind) for kind in order)

    def text(kind):
        return "".join(event["delta"] for event in found if event["type"] == kind)

    assert text("response.output_text.delta") == ANSWER
    assert text("response.reasoning_summary_text.delta").startswith("I add 3 and 4.")
    usage = found[-1]["response"]["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert 0 < usage["output_tokens_details"]["reasoning_tokens"] < usage["output_tokens"]
    assert "cached_tokens" in usage["input_tokens_details"]
    assert events(request)[-1]["type"] == "response.completed"

    # The next turn: what was said comes back as items.
    item = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "I add."}]}
    said = [{"role": "assistant", "content": "12 + 34 = 46."}, {"role": "user", "content": "and plus 5?"}]
    turns = [{"role": "user", "content": [{"type": "input_text", "text": "What is 12 + 34?"}]}, item, *said]
    again = events({**request, **GREEDY, "input": turns, "reasoning": {"effort": "medium"}})
    assert "".join(event["delta"] for event in again if event["type"] == "response.output_text.delta") == "46 + 5 = 51."


def test_a_topic_gets_its_title_in_text_and_in_json():
    title = [{"role": "system", "content": "Give it a title."}, {"role": "user", "content": "What is 3 + 4?"}]
    for model in (CARD, f"{CARD}:nothink"):
        thought, answer = thought_and_answer(chunks("/v1/chat/completions", chat(model=model, messages=title, **GREEDY)))
        assert answer and "think>" not in answer
        assert bool(thought) == (model == CARD)
    schema = {
        "type": "object",
        "properties": {"title": {"type": "string", "maxLength": 20}, "emoji": {"type": "string", "maxLength": 2}},
        "required": ["title", "emoji"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "topic_title", "strict": True, "schema": schema}}
    request = {"model": CARD, "messages": title, "response_format": form, "stream": False, **GREEDY}
    found = json.loads(read("/v1/chat/completions", request)["choices"][0]["message"]["content"])
    assert found.keys() == {"title", "emoji"}


def test_a_history_gets_its_summary():
    request = {"model": CARD, "messages": TALK, "stream": False, "max_tokens": 400, **GREEDY}
    reply = read("/v1/chat/completions", request)
    message = reply["choices"][0]["message"]
    assert message["content"] == ANSWER and message["reasoning_content"].startswith("I add 3 and 4.")
    assert reply["usage"]["completion_tokens"] <= 400


def test_a_translation_takes_its_examples():
    examples = [
        {"role": "system", "content": "Name the language."},
        {"role": "user", "content": "{你好}"},
        {"role": "assistant", "content": "zh-CN"},
        {"role": "user", "content": "{hello}"},
        {"role": "assistant", "content": "en-US"},
        {"role": "user", "content": "{What is 3 + 4?}"},
    ]
    assert thought_and_answer(chunks("/v1/chat/completions", chat(messages=examples, **GREEDY)))[1]


def test_the_connection_check_gets_a_text():
    request = {"model": CARD, "messages": [{"role": "user", "content": "hello"}], "stream": True, **GREEDY}
    assert thought_and_answer(chunks("/v1/chat/completions", request))[1]


def test_plugins_are_refused_with_what_to_switch_off():
    parameters = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
    tool = {"type": "function", "function": {"name": "search", "description": "Searches.", "parameters": parameters}}
    status, _, text = call("/v1/chat/completions", chat(tools=[tool]))
    assert status == 400 and "switch the plugins off" in json.loads(text)["error"]["message"]


def test_dify_accepts_the_credentials():
    ping = {"model": CARD, "messages": [{"role": "user", "content": "ping"}], "stream": False, "max_tokens": 5}
    reply = read("/v1/chat/completions", ping, {"Content-Type": "application/json", "Accept-Charset": "utf-8"})
    assert reply["object"] == "chat.completion"
    assert isinstance(reply["choices"][0]["message"]["content"], str)


def test_dify_reads_one_thought_then_the_answer():
    # It closes the thought at the first delta without one.
    found = chunks("/v1/chat/completions", chat(**GREEDY))
    deltas = [choice["delta"] for chunk in found for choice in chunk["choices"]]
    has_thought = [bool(delta.get("reasoning_content")) for delta in deltas]
    first, last = has_thought.index(True), len(has_thought) - 1 - has_thought[::-1].index(True)
    assert all(has_thought[first : last + 1])
    assert all("choices" in chunk for chunk in found)
