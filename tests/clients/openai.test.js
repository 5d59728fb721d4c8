// The official `openai` Node package against a running tandem, as a user's program would call it.
// `tests/clients/run` starts the server and gives its address in TANDEM_URL.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const url = process.env.TANDEM_URL;
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "unused", maxRetries: 0, timeout: 60_000 });
const addProgram = "你是一个python编程专家，请帮我写一个计算加法的程序";

const request = (text, options = {}) => ({
  model: "default",
  temperature: 0,
  messages: [{ role: "user", content: text }],
  ...options,
});
const ask = (text, options) => client.chat.completions.create(request(text, options));

function checkAddProgram(reply) {
  const program = reply.split("```python")[1].split("```")[0];
  assert.match(program, /def /);
  assert.match(program, /return a \+ b/);
}

/** How many requests the server says that its engines are working on. */
async function running() {
  const page = await (await fetch(`${url}/metrics`)).text();
  const lines = page.split("\n").filter((line) => line.startsWith("vllm:num_requests_running"));
  assert.equal(lines.length, 1);
  return Number(lines[0].split(" ").at(-1));
}

async function waitUntil(condition, what) {
  const deadline = Date.now() + 30_000;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `not within 30 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A completion that goes on until the context is full, so that it is surely running when the test looks. */
async function longCompletion(options) {
  const models = await client.models.list();
  return {
    model: "default",
    prompt: "1 + 1",
    max_tokens: models.data[0].max_model_len - 16,
    temperature: 0,
    ignore_eos: true,
    ...options,
  };
}

test("the model list names the configured model", async () => {
  const { data } = await client.models.list();
  assert.ok(data.length >= 1);
  assert.equal(data[0].object, "model");
  assert.equal((await client.models.retrieve(data[0].id)).id, data[0].id);
});

test("a chat gives a thought and a working program", async () => {
  const reply = await ask(addProgram, { model: "deepseek-r1:32b" });
  const [{ message, finish_reason }] = reply.choices;
  assert.equal(finish_reason, "stop");
  assert.ok(message.reasoning_content.trim());
  assert.ok(!message.content.includes("think>"));
  checkAddProgram(message.content);
});

test("a response is the same whole and streamed", async () => {
  const body = { model: "default", input: addProgram, temperature: 0 };
  const whole = await client.responses.create(body);
  assert.equal(whole.status, "completed");
  checkAddProgram(whole.output_text);
  assert.deepEqual(whole.output.map((item) => item.type), ["reasoning", "message"]);

  // The client puts the events together itself, and complains of any that does not fit.
  const stream = client.responses.stream(body);
  let thought = "";
  for await (const event of stream) {
    if (event.type === "response.reasoning_summary_text.delta") thought += event.delta;
  }
  const last = await stream.finalResponse();
  assert.equal(last.output_text, whole.output_text);
  assert.equal(thought, whole.output[0].summary[0].text);
  assert.equal(last.usage.output_tokens, whole.usage.output_tokens);
});

test("what a response cannot have is a BadRequestError that names it", async () => {
  const refused = client.responses.create({ model: "default", input: "hello", conversation: "conv_1" });
  await assert.rejects(refused, (error) => error instanceof OpenAI.BadRequestError && error.param === "conversation");
});

test("a stream joins to the whole reply", async () => {
  const whole = await ask(addProgram);
  let [thought, answer, pieces, finishes] = ["", "", 0, []];
  for await (const chunk of await ask(addProgram, { stream: true })) {
    const { delta, finish_reason } = chunk.choices[0];
    thought += delta.reasoning_content ?? "";
    answer += delta.content ?? "";
    pieces += 1;
    if (finish_reason) finishes.push(finish_reason);
  }
  assert.equal(thought, whole.choices[0].message.reasoning_content);
  assert.equal(answer, whole.choices[0].message.content);
  assert.deepEqual(finishes, ["stop"]);
  assert.ok(pieces > 8, "the reply came in one piece");
});

test("the stream helper finds a role, a finish reason and the whole text", async () => {
  const whole = await ask(addProgram);
  const final = await client.chat.completions.stream(request(addProgram)).finalChatCompletion();
  assert.equal(final.choices[0].message.content, whole.choices[0].message.content);
  assert.equal(final.choices[0].finish_reason, "stop");
});

test("usage is counted, and streamed only when asked", async () => {
  const { usage } = await ask("What is 3 + 4?");
  assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
  assert.ok(usage.completion_tokens_details.reasoning_tokens > 0);

  const chunks = [];
  const options = { stream: true, stream_options: { include_usage: true } };
  for await (const chunk of await ask("What is 3 + 4?", options)) chunks.push(chunk);
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.equal(chunks.at(-1).usage.completion_tokens, usage.completion_tokens);
  for await (const chunk of await ask("What is 3 + 4?", { stream: true })) assert.ok(!chunk.usage);
});

test("logprobs stand beside every token", async () => {
  const reply = await ask("What is 3 + 4?", { logprobs: true, top_logprobs: 5 });
  const { content } = reply.choices[0].logprobs;
  assert.ok(content.length > 3);
  for (const token of content) {
    assert.equal(token.top_logprobs.length, 5);
    assert.ok(token.logprob <= 0);
  }
});

test("bad parameters raise a bad request with its parameter", async () => {
  await assert.rejects(ask("hello", { temperature: -1 }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "temperature");
    return true;
  });
});

test("an unknown model raises not found with its code", async () => {
  await assert.rejects(ask("hello", { model: "no-such-model" }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
    return true;
  });
});

test("aborting a stream ends the work for it", async () => {
  const stream = await client.completions.create(await longCompletion({ stream: true }));
  for await (const _ of stream) {
    await waitUntil(async () => (await running()) >= 1, "the request runs");
    stream.controller.abort();
    break;
  }
  await waitUntil(async () => (await running()) === 0, "the cancelled request leaves its engine");
});

test("a timeout is raised and ends the work", async () => {
  const body = await longCompletion({ n: 4 });
  await assert.rejects(
    client.completions.create(body, { timeout: 50 }),
    OpenAI.APIConnectionTimeoutError,
  );
  await waitUntil(async () => (await running()) === 0, "the request that timed out leaves its engine");
});
