// Numbers, times and sizes as people read them.

const UNITS = ["B", "kB", "MB", "GB", "TB"];
const COMMAND = /turbov2 \w+ [\w.-]+|pip install (?:'[^']*'|\S+)/;

export function bytes(n) {
  let power = 0;
  let left = n;
  while (left >= 999.5 && power < UNITS.length - 1) {
    left /= 1000;
    power += 1;
  }
  return `${left.toFixed(left < 10 && power > 1 ? 1 : 0)} ${UNITS[power]}`;
}

export function duration(seconds) {
  if (seconds < 0.0095) return `${(seconds * 1000).toFixed(1)} ms`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

export function number(value) {
  if (value >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString("en");
  return value.toFixed(value >= 10 ? 1 : 2);
}

export function clock(time) {
  return new Date(time).toLocaleTimeString("en-GB");
}

export function count(n, noun) {
  return `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
}

// A sentence in three parts, of which the middle one is the command to type, if there is one.
export function aroundCommand(sentence) {
  const found = COMMAND.exec(sentence);
  if (found === null) return [sentence, "", ""];
  return [sentence.slice(0, found.index), found[0], sentence.slice(found.index + found[0].length)];
}
