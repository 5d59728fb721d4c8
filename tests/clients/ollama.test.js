// The official `ollama` Node package against a running tandem, as a user's program would call it.
// `tests/clients/with_store` starts the server, and says which models there are.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Ollama } from "ollama";

const client = new Ollama({ host: process.env.TANDEM_URL });
const registry = process.env.TANDEM_REGISTRY;
const model = "deepseek-r1:32b";
const question = "What is 3 + 4?";
const answer = "3 + 4 = 7.";

const messages = [{ role: "user", content: question }];
const ask = (options = {}) => client.chat({ model, messages, ...options });

async function all(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

const joined = (parts, text) => parts.map((part) => text(part) ?? "").join("");
const loaded = async () => (await client.ps()).models.map((model) => model.name);
const names = async () => (await client.list()).models.map((model) => model.name);

test("a thought is in the text unless it is asked for or forbidden", async () => {
  const split = (await ask({ think: true })).message;
  assert.equal(split.content, answer);
  assert.equal((await ask()).message.content, `<think>\n${split.thinking}\n</think>\n\n${answer}`);
  const silent = (await ask({ think: false })).message;
  assert.ok(silent.content && !silent.thinking && !silent.content.includes("think>"));
});

test("a streamed chat joins to the whole one", async () => {
  for (const think of [undefined, true, false]) {
    const whole = await ask({ think });
    const parts = await all(await ask({ think, stream: true }));
    assert.ok(parts.length > 3);
    assert.equal(joined(parts, (part) => part.message.content), whole.message.content);
    assert.equal(joined(parts, (part) => part.message.thinking), whole.message.thinking ?? "");
    const last = parts.at(-1);
    assert.ok(last.done && last.done_reason === "stop");
    assert.equal(last.eval_count, whole.eval_count);
  }
});

test("a streamed generate joins to the whole one", async () => {
  const request = { model, prompt: question, think: true };
  const whole = await client.generate(request);
  assert.equal(whole.response, answer);
  assert.ok(whole.thinking);
  const parts = await all(await client.generate({ ...request, stream: true }));
  assert.equal(joined(parts, (part) => part.response), answer);
  assert.equal(joined(parts, (part) => part.thinking), whole.thinking);
  assert.deepEqual(parts.at(-1).context, whole.context);
});

test("the answer keeps to a schema", async () => {
  const schema = {
    type: "object",
    properties: { sum: { type: "integer", minimum: 0, maximum: 99 } },
    required: ["sum"],
    additionalProperties: false,
  };
  const found = JSON.parse((await ask({ format: schema })).message.content);
  assert.deepEqual(Object.keys(found), ["sum"]);
  assert.ok(Number.isInteger(found.sum));
});

test("the models are listed, shown and loaded", async () => {
  assert.ok((await names()).includes(model));
  const shown = await client.show({ model });
  assert.equal(shown.details.family, "qwen2");
  assert.ok(shown.capabilities.includes("thinking"));
  await ask({ model: "small", keep_alive: "10m" });
  assert.ok((await loaded()).includes("small:latest"));
  await ask({ model: "small", keep_alive: 0 });
  assert.ok(!(await loaded()).includes("small:latest"));
});

test("embeddings come in order at length one", async () => {
  const { embeddings } = await client.embed({ model, input: ["1 + 1", "hello"] });
  assert.equal(embeddings.length, 2);
  for (const vector of embeddings) assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-4);
  assert.deepEqual((await client.embed({ model, input: "hello" })).embeddings, [embeddings[1]]);
  assert.equal((await client.embeddings({ model, prompt: "hello" })).embedding.length, embeddings[1].length);
});

test("models are pulled, created, copied and deleted", async () => {
  assert.equal((await client.pull({ model })).status, "success");
  assert.deepEqual(await all(await client.pull({ model, stream: true })), [{ status: "success" }]);
  const fetched = `${registry}/library/fetched:latest`;
  const steps = await all(await client.pull({ model: fetched, stream: true }));
  assert.equal(steps.at(-1).status, "success");
  assert.ok(steps.some((step) => step.total > 1000 && step.completed === step.total));
  await client.create({ model: "adder", from: fetched, system: "You are an adder.", parameters: { temperature: 0 } });
  await client.copy({ source: "adder", destination: "adder:two" });
  assert.equal((await ask({ model: "adder:two", think: true })).message.content, answer);
  for (const name of [fetched, "adder", "adder:two"]) await client.delete({ model: name });
  assert.ok(!(await names()).some((name) => name.includes("adder") || name === fetched));
});

test("what is refused throws with its status", async () => {
  const missing = { name: "ResponseError", status_code: 404, message: /no-such-model/ };
  await assert.rejects(client.chat({ model: "no-such-model", messages }), missing);
  await assert.rejects(client.show({ model: "no-such-model" }), missing);
  await assert.rejects(ask({ options: { temperature: 101 }, stream: true }), { status_code: 400, message: /temperature/ });
});

test("aborting a stream ends the work for it", async () => {
  const running = async () => {
    const page = await (await fetch(`${process.env.TANDEM_URL}/metrics`)).text();
    const lines = page.split("\n").filter((line) => line.startsWith("vllm:num_requests_running"));
    return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  };
  const options = { num_predict: -1, temperature: 100, top_k: 0, top_p: 1 };
  const stream = await ask({ stream: true, options });
  await assert.rejects(
    async () => {
      for await (const _ of stream) client.abort();
    },
    { name: "AbortError" },
  );
  const deadline = Date.now() + 30_000;
  while ((await running()) > 0) assert.ok(Date.now() < deadline, "the aborted request still runs after 30 s");
});
