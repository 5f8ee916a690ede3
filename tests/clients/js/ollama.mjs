// The official JavaScript client of Ollama, unchanged. Arguments: base URL, model, short-sighted model, other model.
import assert from "node:assert/strict";
import { Ollama } from "ollama";

const [host, model, fake, inline] = process.argv.slice(2);
const client = new Ollama({ host });

const one = await client.embed({ model, input: "a first text" });
assert.equal(one.model, model);
assert.ok(one.total_duration > 0);
const many = await client.embed({
  model, input: ["a", "b"], dimensions: 64, truncate: false, keep_alive: "5m", options: { num_ctx: 512 },
});
assert.deepEqual(many.embeddings.map((vector) => vector.length), [64, 64]);
const older = await client.embeddings({ model, prompt: "a first text" });
assert.equal(older.embedding.length, 256);

const { models } = await client.list();
assert.ok(models.some((each) => each.name === `${model}:latest` && each.size > 0 && each.digest));
const shown = await client.show({ model });
assert.deepEqual(shown.capabilities, ["embedding"]);
assert.equal(typeof shown.model_info, "object");
await client.embed({ model: fake, input: "x" });
assert.ok((await client.ps()).models.some((each) => each.name === `${fake}:latest`));
const { version } = await client.version();
assert.match(version, /^0\.\d+\.\d+$/);

assert.equal((await client.pull({ model })).status, "success");
const steps = [];
for await (const step of await client.pull({ model, stream: true })) steps.push(step.status);
assert.deepEqual([steps[0], steps.at(-1)], ["pulling manifest", "success"]);
await assert.rejects(async () => {
  for await (const step of await client.pull({ model: "bge-m3-onnx", stream: true })) steps.push(step.status);
}, /network|offline/i);
await assert.rejects(client.delete({ model }), /cannot be removed/);
await assert.rejects(client.delete({ model: "nope" }), { name: "ResponseError", status_code: 404 });
assert.equal((await client.delete({ model: "minilm-384d" })).status, "success");

assert.equal((await client.generate({ model: inline, prompt: "" })).done_reason, "load");
assert.equal((await client.generate({ model: inline, prompt: "", keep_alive: 0 })).done_reason, "unload");
await assert.rejects(client.chat({ model, messages: [{ role: "user", content: "hi" }] }), /does not support chat/);
await assert.rejects(client.embed({ model: "nope", input: "x" }), {
  name: "ResponseError", status_code: 404, error: "model 'nope' not found",
});
await assert.rejects(
  client.embed({ model: fake, input: "a b c d e f g h i", truncate: false }), /exceeds the context length/,
);

console.log(JSON.stringify({ embedding: one.embeddings[0], older: older.embedding }));
