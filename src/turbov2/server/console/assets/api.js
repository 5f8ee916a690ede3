// Requests to the server this page came from, with the visitor's key if there is one.

const BASE = new URL("..", import.meta.url); // a proxy may have put a prefix before all paths
const KEY = "turbov2-key";
const UPGRADE_REQUIRED = 426; // what HTTP is told where all else is well
const keyWatchers = [];

export class ApiError extends Error {
  constructor(status, message, retryAfterS = 0) {
    super(message);
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

// Keeps the key for this tab; null forgets it.
export function setKey(key) {
  if (key === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, key);
}

// `watcher(message)` is called whenever the server wants a key, or another one.
export function onKeyWanted(watcher) {
  keyWatchers.push(watcher);
}

// Returns the response. Throws ApiError unless its status says that all went well.
export async function request(path, { method = "GET", json, form, signal } = {}) {
  const headers = new Headers();
  const key = sessionStorage.getItem(KEY);
  if (key !== null) headers.set("X-API-Key", key);
  if (json !== undefined) headers.set("Content-Type", "application/json");
  const body = json === undefined ? form : JSON.stringify(json);
  const response = await send(new URL(path, BASE), { method, headers, body, signal, cache: "no-store" });
  if (!response.ok) throw await refused(response, key);
  return response;
}

export async function asJson(path, options) {
  return (await request(path, options)).json();
}

// Yields the objects of an answer that comes line by line.
export async function* asLines(path, options) {
  const response = await request(path, options);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      const lines = (rest + (value ?? "")).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line.trim()) yield JSON.parse(line);
      if (done) return;
    }
  } finally {
    await reader.cancel().catch(() => {}); // whoever stops reading stops the server's work
  }
}

// Returns a WebSocket once it is open. A browser says nothing of why one was refused, so HTTP is asked.
export function openSocket(path) {
  const url = new URL(path, BASE);
  const key = sessionStorage.getItem(KEY);
  const protocols = ["turbov2.live", ...(key === null ? [] : [`turbov2-api-key.${base64url(key)}`])];
  return new Promise((resolve, reject) => {
    const address = new URL(url);
    address.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(address, protocols);
    socket.onopen = () => resolve(socket);
    socket.onerror = () => {
      const refused = new ApiError(0, "the server did not begin a session; perhaps too many are open");
      request(url).then(() => reject(refused), (error) => reject(error.status === UPGRADE_REQUIRED ? refused : error));
    };
  });
}

function base64url(text) {
  const bytes = String.fromCharCode(...new TextEncoder().encode(text));
  return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

async function send(url, options) {
  try {
    return await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError" || error.name === "TimeoutError") throw error;
    throw new ApiError(0, "the server cannot be reached");
  }
}

async function refused(response, key) {
  const text = await response.text().catch(() => "");
  const message = messageIn(text) ?? `the answer was HTTP ${response.status}`;
  // A late answer to a key that was replaced meanwhile says nothing of the new one.
  const isOurs = key === sessionStorage.getItem(KEY);
  if (response.status === 401 && isOurs) for (const watcher of keyWatchers) watcher(message);
  return new ApiError(response.status, message, Number(response.headers.get("retry-after")) || 0);
}

function messageIn(text) {
  try {
    const { error } = JSON.parse(text);
    return typeof error === "string" ? error : null;
  } catch {
    return null; // a proxy's page
  }
}
