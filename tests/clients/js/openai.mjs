// The official JavaScript client of OpenAI, unchanged. Arguments: base URL, model, short-sighted model.
import assert from "node:assert/strict";
import OpenAI from "openai";

const [host, model, fake] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${host}/v1`, apiKey: "none", maxRetries: 0 });

// Says nothing of the encoding: the client asks for base64 and unpacks it, and a list of floats would become [].
const answer = await client.embeddings.create({ model, input: ["a first text", "a second one"] });
assert.equal(answer.object, "list");
assert.deepEqual(answer.data.map((item) => item.embedding.length), [256, 256]);
assert.equal(answer.usage.prompt_tokens, 6);
const plain = await client.embeddings.create({ model, input: "a first text", encoding_format: "float" });
assert.deepEqual(Float32Array.from(plain.data[0].embedding), Float32Array.from(answer.data[0].embedding));
const short = await client.embeddings.create({ model, input: "a first text", dimensions: 64 });
assert.equal(short.data[0].embedding.length, 64);
const ids = await client.embeddings.create({ model, input: [[1, 2, 3], [4]] });
assert.deepEqual(ids.data.map((item) => item.embedding.length), [256, 256]);

const listed = [];
for await (const each of client.models.list()) listed.push(each.id);
assert.ok(listed.includes(model));
assert.equal((await client.models.retrieve(model)).id, model);

const failing = [
  [{ model: "nope", input: "x" }, OpenAI.NotFoundError, "model_not_found", "model"],
  [{ model, input: [] }, OpenAI.BadRequestError, "invalid_request", "input"],
  [{ model, input: "x", dimensions: 257 }, OpenAI.BadRequestError, "invalid_request", "dimensions"],
  [{ model: fake, input: "a b c d e f g h i" }, OpenAI.BadRequestError, "context_length_exceeded", null],
  [{ model: fake, input: "fail-now" }, OpenAI.InternalServerError, "inference_failed", null],
];
for (const [body, kind, code, param] of failing) {
  await assert.rejects(client.embeddings.create(body), (error) => {
    assert.ok(error instanceof kind, `${error.constructor.name} for ${JSON.stringify(body)}`);
    assert.equal(error.code, code);
    if (param) assert.equal(error.param, param);
    assert.ok(error.requestID);
    return true;
  });
}

console.log(JSON.stringify({ embedding: answer.data[0].embedding }));
