// Conversations by Ollama's official JavaScript client, unchanged. Arguments: base URL, key, model.
import assert from "node:assert/strict";
import { Ollama } from "ollama";

const [host, key, model] = process.argv.slice(2);
const client = new Ollama({ host, headers: { Authorization: `Bearer ${key}` } });
const SCHEMA = { type: "object", properties: { path: { type: "string" } }, required: ["path"] };
const TITLE = {
  type: "object", properties: { title: { type: "string" }, n: { type: "integer" } }, required: ["title", "n"],
};
const tools = [{ type: "function", function: { name: "ls", description: "lists files", parameters: SCHEMA } }];
const asked = (content, fields) => ({ model, messages: [{ role: "user", content }], think: false, ...fields });
const CALLS = 'CALL ls {"path": "a"}\nCALL ls {"path": "b"}';
const parts = async (stream) => {
  const gathered = [];
  for await (const part of await stream) gathered.push(part);
  return gathered;
};

const plain = await client.chat(asked("a b"));
assert.deepEqual([plain.message.content, plain.done, plain.done_reason], ["a b", true, "stop"]);
assert.deepEqual([plain.prompt_eval_count, plain.eval_count], [2, 2]);
const streamed = await parts(client.chat(asked("a b c", { stream: true, think: true })));
assert.equal(streamed.map((part) => part.message.content).join(""), "a b c");
assert.equal(streamed.map((part) => part.message.thinking ?? "").join(""), "I read 3 words.");
const written = await parts(client.generate({ model, prompt: "a b", stream: true, think: false }));
assert.equal(written.map((part) => part.response).join(""), "a b");

const first = await client.chat(asked(CALLS, { tools }));
const calls = first.message.tool_calls;
assert.deepEqual(calls.map((call) => call.function.arguments), [{ path: "a" }, { path: "b" }]);
const told = (call) => `files of ${call.function.arguments.path}`;
for (const name of ["ls", undefined]) {
  const results = calls.map((call) => ({ role: "tool", content: told(call), ...(name && { tool_name: name }) }));
  const messages = [{ role: "user", content: "go" }, first.message, ...results];
  const second = await client.chat({ ...asked("", { tools }), messages });
  assert.match(second.message.content, /ls: files of a ls: files of b$/);
}
const lines = await parts(client.chat(asked(CALLS, { tools, stream: true })));
assert.equal(lines.flatMap((part) => part.message.tool_calls ?? []).length, 2);

const shaped = await client.chat(asked("a", { format: TITLE }));
assert.deepEqual(JSON.parse(shaped.message.content), { title: "word", n: 1 });
const { capabilities } = await client.show({ model });
assert.ok(capabilities.includes("completion"), capabilities.join());

const stranger = new Ollama({ host, headers: { Authorization: "Bearer wrong" } });
const failing = [
  [client, asked("a", { model: "nope" }), 404],
  [client, asked("a", { options: { temperature: 9 } }), 400],
  [stranger, asked("a"), 401],
];
for (const [asking, body, status_code] of failing) {
  await assert.rejects(asking.chat(body), { name: "ResponseError", status_code });
}
await assert.rejects(parts(client.chat(asked("a FAIL", { model: "eyes", stream: true }))), /told to fail/);

console.log(JSON.stringify({ capabilities }));
