// LangChain's JavaScript embeddings, unchanged. Arguments: base URL, model, short-sighted model.
import assert from "node:assert/strict";
import { OllamaEmbeddings } from "@langchain/ollama";

const [baseUrl, model, fake] = process.argv.slice(2);
const vectors = {};
for (const name of [model, `${model}:latest`]) {
  const embeddings = new OllamaEmbeddings({ model: name, baseUrl, keepAlive: "5m" });
  vectors[name] = await embeddings.embedQuery("a first text");
  const documents = await embeddings.embedDocuments(["a first text", "a second one"]);
  assert.equal(documents.length, 2);
  assert.deepEqual(documents[0], vectors[name]);
}
assert.deepEqual(vectors[model], vectors[`${model}:latest`]);
const short = await new OllamaEmbeddings({ model, baseUrl, dimensions: 64 }).embedQuery("a first text");
assert.equal(short.length, 64);

const shortSighted = new OllamaEmbeddings({ model: fake, baseUrl, maxRetries: 0 });
assert.equal((await shortSighted.embedQuery("a b c d e f g h")).length, 8);
await assert.rejects(shortSighted.embedQuery("a b c d e f g h i"), /exceeds the context length/);
await assert.rejects(new OllamaEmbeddings({ model: "nope", baseUrl, maxRetries: 0 }).embedQuery("x"), /not found/);

console.log(JSON.stringify({ embedding: vectors[model] }));
