// Building and refreshing the page. Everything that was told becomes text, never markup.

export const byId = (id) => document.getElementById(id);

/** el("p", {class: "note"}, "text", otherElement) */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets text only where it differs: a screen reader, a selection and the focus stay undisturbed. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets text, and greys out what is not known. */
export function setValue(element, text) {
  setText(element, text);
  element.classList.toggle("unknown", text === "not known");
}

/**
 * Keeps the children of @parent in step with @items: those that stay are refreshed in place, so a focused button
 * stays focused. @make(item) builds one, @update(element, item) refreshes it.
 */
export function keep(parent, items, keyOf, make, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let next = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    const child = known.get(key) ?? make(item);
    known.delete(key);
    child.dataset.key = key;
    update(child, item);
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  for (const gone of known.values()) gone.remove();
}

/**
 * Keeps a table's body in step with @items. @columns: {name, text(item)} for a cell of text, {name, make(row)} for one
 * that holds elements (row.item is what it shows) and perhaps {refresh(cell, item)}; `number` aligns it to the right,
 * `minor` leaves it out where there is little room, `head` makes it the row's heading.
 */
export function keepTable(table, columns, items, keyOf) {
  if (!table.tHead) table.append(tableHead(columns), el("tbody"));
  keep(table.tBodies[0], items, keyOf, () => tableRow(columns), (row, item) => {
    row.item = item;
    columns.forEach((column, i) => {
      if (column.text) setValue(row.cells[i], column.text(item));
      column.refresh?.(row.cells[i], item);
    });
  });
}

const classOf = (column) => [column.number && "number", column.minor && "minor", column.class].filter(Boolean).join(" ") || null;

function tableHead(columns) {
  return el("thead", {}, el("tr", {}, ...columns.map((column) =>
    el("th", { scope: "col", class: classOf(column) },
      column.hidden ? el("span", { class: "out-of-sight" }, column.name) : column.name))));
}

function tableRow(columns) {
  const row = el("tr");
  for (const column of columns) {
    const cell = column.head ? el("th", { scope: "row", class: classOf(column) }) : el("td", { class: classOf(column) });
    row.append(cell);
    if (column.make) cell.append(...[column.make(row)].flat());
  }
  return row;
}

/** A status as sign and word: never colour alone. */
export function badge(kind, text) {
  const shown = el("span", { class: "badge" }, el("span", { class: "sign", "aria-hidden": "true" }), el("span", {}, ""));
  setBadge(shown, kind, text);
  return shown;
}

const SIGNS = { good: "●", info: "i", warning: "▲", bad: "✕", off: "○" };

export function setBadge(shown, kind, text) {
  shown.dataset.kind = kind;
  setText(shown.firstElementChild, SIGNS[kind]);
  setText(shown.lastElementChild, text);
}

/** Says something to who listens rather than looks. */
export function announce(text) {
  byId("announcement").textContent = text;
}

/** One panel of the page: loading, empty, failed, or showing. */
export class Panel {
  #note;
  #body;
  #shown = false;

  constructor(id) {
    const section = byId(id);
    this.#note = section.querySelector("[data-note]");
    this.#body = section.querySelector("[data-body]");
  }

  show() {
    this.#shown = true;
    this.#set("", "", true);
  }

  /** There is nothing, and this is why, or what to do about it. */
  empty(text) {
    this.#shown = true;
    this.#set("empty", text, false);
  }

  /** It could not be asked. What was known before stays. */
  failed(text) {
    this.#set("failed", text, this.#shown && !this.#body.hidden);
  }

  #set(state, text, showsBody) {
    this.#note.dataset.state = state;
    setText(this.#note, text);
    this.#note.hidden = text === "";
    this.#body.hidden = !showsBody;
  }
}

/** Asks what to do; resolves to the name of the choice taken, "" where it is none. @choices: {name: {text, danger}}. */
export function chosen({ title, text, choices }) {
  const dialog = byId("confirm");
  setText(byId("confirm-title"), title);
  setText(byId("confirm-text"), text);
  byId("confirm-choices").replaceChildren(...Object.entries(choices).map(([name, choice]) =>
    el("button", { value: name, class: choice.danger && "danger" }, choice.text)));
  dialog.returnValue = "";
  dialog.showModal();
  byId("confirm-cancel").focus(); // Enter by habit does nothing
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}

/** Asks before something that cannot be undone; resolves to whether it shall be done. */
export async function confirmed({ title, text, action }) {
  return await chosen({ title, text, choices: { do: { text: action, danger: true } } }) === "do";
}
