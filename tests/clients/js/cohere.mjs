// The official JavaScript client of Cohere, unchanged. Arguments: base URL, model.
import assert from "node:assert/strict";
import { CohereClient, CohereClientV2, CohereError } from "cohere-ai";

const [host, model] = process.argv.slice(2);
const QUERY = "How do cats sleep?";
const DOCUMENTS = ["The stock market fell today.", "Cats sleep sixteen hours a day.", "A cat is an animal."];
const asked = { environment: host, baseUrl: host, token: "none" };

const second = new CohereClientV2(asked);
const ranked = await second.rerank({ model, query: QUERY, documents: DOCUMENTS, topN: 2 });
assert.equal(ranked.results.length, 2);
assert.ok(ranked.results.every(({ relevanceScore }) => relevanceScore >= 0 && relevanceScore <= 1));

const first = await new CohereClient(asked).rerank({ model, query: QUERY, documents: DOCUMENTS, returnDocuments: true });
assert.deepEqual(first.results.map((each) => each.document.text), first.results.map((each) => DOCUMENTS[each.index]));
assert.deepEqual(first.results.slice(0, 2).map((each) => each.index), ranked.results.map((each) => each.index));

const { embeddings } = await second.embed({
  model, texts: DOCUMENTS, inputType: "search_document", embeddingTypes: ["float"],
});
assert.deepEqual(embeddings.float.map((vector) => vector.length), [256, 256, 256]);

const unknown = second.rerank({ model: "nope", query: QUERY, documents: DOCUMENTS });
await assert.rejects(unknown, (error) => error instanceof CohereError && error.statusCode === 404);

console.log(JSON.stringify({
  embedding: embeddings.float[0],
  results: ranked.results.map((each) => [each.index, each.relevanceScore]),
}));
