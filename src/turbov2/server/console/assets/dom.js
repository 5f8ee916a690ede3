// Elements with text. What the server or a file says becomes text, never markup.

const SVG = "http://www.w3.org/2000/svg";

// Returns an element with attributes, listeners ("onclick") and children: nodes, or texts.
export function element(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

// The same for a part of a drawing.
export function drawn(tag, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), attributes, children);
}

function dress(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export function byId(id) {
  return document.getElementById(id);
}

// Only what changed is written, so that a selection or a screen reader is not disturbed every two seconds.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setClass(node, name) {
  if (node.className !== name) node.className = name;
}

// Children of `parent`, one for each item, kept while their item stays: a button that has the focus keeps it.
export class Rows {
  #parent;
  #make;
  #shown = new Map();

  // make() returns {node, show(item)}.
  constructor(parent, make) {
    this.#parent = parent;
    this.#make = make;
  }

  show(items, keyOf) {
    const before = this.#shown;
    this.#shown = new Map();
    for (const item of items) {
      const key = keyOf(item);
      const row = before.get(key) ?? this.#make(item);
      before.delete(key);
      row.show(item);
      this.#shown.set(key, row);
    }
    for (const gone of before.values()) gone.node.remove();
    let next = this.#parent.firstElementChild;
    for (const { node } of this.#shown.values()) {
      if (node === next) next = next.nextElementSibling;
      else this.#parent.insertBefore(node, next);
    }
  }
}
