"use strict";
// Draws the tables of the page from its data, and keeps what a reader chose in the address. Texts are set as text, never
// as markup. What is chosen: q (text), status, case, impl (names), sort (table.column, with ~ for descending), columns
// (table.column: shown where it is not by itself, and the other way round), open (tables: unfolded where they are not by
// themselves, and the other way round), whole (tables of which all rows are drawn), only (differs: of several runs), theme, at
// (where on the page).
const data = JSON.parse(document.getElementById("data").textContent);
if (data.version !== 2) throw new Error(`data of version ${data.version}; this script reads version 2`);
for (const table of data.tables) table.rows = table.rows.map((row) => row.map((at) => table.values[at]));
const tables = new Map(data.tables.map((table) => [table.key, table]));
// What an address calls a column: table.column. Where two would share that name, or it would end like a sorting, the later
// one has more dots.
const named = new Map();
for (const table of data.tables) for (const column of table.columns) {
  column.id = `${table.key}.${column.key}`;
  for (let dots = ".."; named.has(column.id) || column.id.endsWith("~"); dots += ".")
    column.id = `${table.key}${dots}${column.key}${column.key.endsWith("~") ? "." : ""}`;
  named.set(column.id, table);
}
const form = document.getElementById("filters");
const LISTS = ["impl", "sort", "columns", "open", "whole"];
const WORDS = ["q", "status", "case", "only", "theme", "at"];
const only = document.getElementById("only");
const folders = [...document.querySelectorAll("details.cells")];
const unfolded = new Set(folders.filter((details) => details.open).map((details) => details.dataset.table));
// A long table is drawn in part, until all of it is asked for: filters, sorting and paper have every row.
const FIRST = 200;
let state = {}, printing = false;

function make(tag, props = {}, ...children) {
  const element = Object.assign(document.createElement(tag), props);
  element.append(...children);
  return element;
}
const place = (table, key) => table.columns.findIndex((column) => column.key === key);
const text = (value) => (value === null ? "–" : typeof value === "string" ? value : value[1]);
const values = (key) => [...new Set(data.tables.flatMap((table) => {
  const at = place(table, key);
  return at < 0 ? [] : table.rows.map((row) => text(row[at]));
}))];

// The address. Commas part a list, so that one inside a name is written as %2C.
const written = (name) => encodeURIComponent(name).replace(/%2F/g, "/").replace(/%20/g, "+").replace(/%3D/g, "=").replace(/%3A/g, ":");
function read(fragment) {
  const read = Object.fromEntries(LISTS.map((name) => [name, []]));
  for (const part of fragment.replace(/^#/, "").split("&")) {
    const at = part.indexOf("=");
    const name = part.slice(0, at), value = part.slice(at + 1).replace(/\+/g, " ");
    try {
      if (LISTS.includes(name)) read[name] = value.split(",").filter(Boolean).map(decodeURIComponent);
      else if (WORDS.includes(name)) read[name] = decodeURIComponent(value);
    } catch { /* an address that was cut short says nothing */ }
  }
  const known = { impl: new Set(values("impl")), status: new Set(values("status")), case: new Set(values("case")) };
  read.impl = read.impl.filter((name) => known.impl.has(name));
  read.sort = read.sort.filter((name) => named.has(name.replace(/~$/, "")));
  read.columns = read.columns.filter((name) => named.has(name));
  for (const name of ["open", "whole"]) read[name] = read[name].filter((key) => tables.has(key));
  for (const name of ["status", "case"]) if (!known[name].has(read[name])) delete read[name];
  if (!["light", "dark"].includes(read.theme)) delete read.theme;
  if (read.only !== "differs") delete read.only;
  return read;
}
function address() {
  const words = WORDS.filter((name) => state[name]).map((name) => `${name}=${written(state[name])}`);
  const lists = LISTS.filter((name) => state[name].length).map((name) => `${name}=${state[name].map(written).join(",")}`);
  return "#" + [...words, ...lists].join("&");
}
function keep() {
  const next = address();
  try {
    history.replaceState(null, "", next === "#" ? location.pathname + location.search : next);
  } catch { /* where a page may not write its address, it works without */ }
}

// Which rows are shown, and in which order. A text is looked for as one phrase; where no row has that, by its words.
const SEARCHED = ["case", "full", "impl", "status", "reason"];
const lookup = new Map(data.tables.map((table) => {
  const at = table.columns.flatMap((column, k) => (SEARCHED.includes(column.key) || column.key.startsWith("point.") ? [k] : []));
  const words = (k, value) => (table.columns[k].key.startsWith("point.") ? `${table.columns[k].name} = ${text(value)}` : text(value));
  return [table.key, new Map(table.rows.map((row) => [row, at.filter((k) => row[k] !== null).map((k) => words(k, row[k])).join("\n").toLowerCase()]))];
}));
const pattern = (words) => new RegExp((/^\d/.test(words) ? "(?<!\\d)" : "") + words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") + (/\d$/.test(words) ? "(?!\\d)" : ""));
let last = { q: "", patterns: [] };
function patterns() {
  const q = (state.q || "").toLowerCase().trim().replace(/\s+/g, " ");
  if (last.q === q) return last.patterns;
  const phrase = pattern(q);
  const is = [...lookup.values()].some((rows) => [...rows.values()].some((words) => phrase.test(words)));
  last = { q, patterns: !q ? [] : is ? [phrase] : q.split(" ").map(pattern) };
  return last.patterns;
}
function passes(table, row) {
  const has = (key) => text(row[place(table, key)] ?? null);
  if (state.status && has("status") !== state.status) return false;
  if (state.case && has("case") !== state.case) return false;
  if (state.impl.length && !state.impl.includes(has("impl"))) return false;
  return patterns().every((words) => words.test(lookup.get(table.key).get(row)));
}
const sorts = (entry, table) => named.get(entry.replace(/~$/, "")) === table;
function sorting(table) {
  const entry = state.sort.find((name) => sorts(name, table));
  if (!entry) return null;
  const down = entry.endsWith("~");
  return { at: table.columns.findIndex((column) => column.id === entry.replace(/~$/, "")), down };
}
// What is not finite came as a text; numbers stand before all other texts.
const ENDLESS = new Map([["∞", Infinity], ["inf", Infinity], ["-∞", -Infinity], ["−∞", -Infinity]]);
const number = (value) => (Array.isArray(value) ? value[0] : ENDLESS.get(value));
function compare(a, b) {
  const [left, right] = [number(a), number(b)];
  if (left !== undefined && right !== undefined) return left < right ? -1 : left > right ? 1 : 0;
  if (left !== undefined || right !== undefined) return left === undefined ? 1 : -1;
  return text(a).localeCompare(text(b), "en", { numeric: true });
}
function chosen(table) {
  const rows = table.rows.filter((row) => passes(table, row));
  const by = sorting(table);
  if (!by) return rows;
  const known = (row) => row[by.at] !== null;
  const sorted = rows.filter(known).sort((a, b) => (by.down ? -1 : 1) * compare(a[by.at], b[by.at]));
  return [...sorted, ...rows.filter((row) => !known(row))];
}
const shown = (table) => table.columns.filter((column) => column.shown !== state.columns.includes(column.id));

// Drawing.
function head(table, column) {
  const by = sorting(table);
  const sorted = by && table.columns[by.at] === column;
  const button = make("button", { type: "button", textContent: column.name });
  button.dataset.sort = column.id;
  const cell = make("th", { scope: "col", className: column.number ? "n" : "" }, button);
  cell.setAttribute("aria-sort", sorted ? (by.down ? "descending" : "ascending") : "none");
  return cell;
}
function again(line) {
  const copy = make("button", { type: "button" }, "Copy", make("span", { className: "only-heard", textContent: ` ${line}` }));
  copy.dataset.copy = line;
  return make("div", { className: "again" }, copy, make("code", { textContent: line, title: line }));
}
function body(column, value) {
  const cell = make("td", { className: column.number ? "n" : value === null ? "" : column.key });
  if (column.key === "again" && value) cell.append(again(value));
  else cell.textContent = text(value);
  return cell;
}
function columnsOf(table) {
  const boxes = table.columns.map((column) => {
    const box = make("input", { type: "checkbox", checked: shown(table).includes(column) });
    box.dataset.column = column.id;
    return make("label", {}, box, ` ${column.name}`);
  });
  return make("details", { className: "choice" }, make("summary", { textContent: "Columns" }), make("fieldset", {}, make("legend", { className: "only-heard", textContent: `Columns of ${table.title}` }), ...boxes));
}
function rest(table, drawn, all) {
  if (drawn === all) return [];
  const button = make("button", { type: "button", textContent: `show all ${all}` });
  button.dataset.whole = table.key;
  return [make("p", { className: "rest" }, `The first ${drawn} of ${all} rows are drawn. `, button)];
}
function draw(details) {
  const table = tables.get(details.dataset.table);
  const rows = chosen(table), part = printing || state.whole.includes(table.key) ? rows : rows.slice(0, FIRST);
  const columns = shown(table), at = columns.map((column) => table.columns.indexOf(column));
  details.querySelector(".counted").textContent = `: ${rows.length === table.rows.length ? "" : `${rows.length} of `}${table.rows.length} cells`;
  const drawn = details.querySelector(".drawn");
  if (!details.open) return drawn.replaceChildren();
  const focused = document.activeElement?.dataset ?? {};
  const open = drawn.querySelector(".choice")?.open ?? false;
  const status = place(table, "status");
  const lines = part.map((row) => make("tr", { className: { ok: "", unsupported: "absent", "not-run": "absent" }[text(row[status])] ?? "failed" }, ...columns.map((column, k) => body(column, row[at[k]]))));
  const grid = make("table", {}, make("caption", { className: "only-heard", textContent: table.title }), make("thead", {}, make("tr", {}, ...columns.map((column) => head(table, column)))), make("tbody", {}, ...lines));
  const box = make("div", { className: "scroll", tabIndex: 0 }, grid);
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", `Cells of ${table.title}`);
  const choice = columnsOf(table);
  choice.open = open;
  drawn.replaceChildren(choice, rows.length ? box : make("p", { textContent: "No cell passes these filters." }), ...rest(table, part.length, rows.length));
  for (const name of ["sort", "column"]) // the control that was used keeps the focus
    if (focused[name]) drawn.querySelector(`[data-${name}="${CSS.escape(focused[name])}"]`)?.focus();
}
function drawAll() {
  document.documentElement.dataset.theme = state.theme ?? "";
  document.getElementById("theme").value = state.theme ?? "";
  document.querySelectorAll(".grid").forEach(drawGrid);
  for (const row of document.querySelectorAll("tr[data-same], .side tbody tr")) row.hidden = isHidden(row.dataset);
  document.querySelectorAll(".side").forEach(countRows);
  if (only) only.checked = state.only === "differs";
  for (const head of document.querySelectorAll(".grid [data-library]")) {
    const mine = [...head.closest("thead").querySelectorAll("[data-impl]")].filter((cell) => cell.dataset.impl.split("/")[0] === head.dataset.library && !cell.hidden);
    head.hidden = mine.length === 0;
    head.colSpan = Math.max(mine.length, 1);
  }
  if (!form) return;
  if (!printing) for (const details of folders) details.open = unfolded.has(details.dataset.table) !== state.open.includes(details.dataset.table);
  for (const name of ["q", "status", "case"]) if (form.elements[name].value !== (state[name] ?? "")) form.elements[name].value = state[name] ?? "";
  for (const box of form.querySelectorAll("fieldset input")) box.checked = state.impl.includes(box.value);
  form.elements.impls.value = state.impl.length ? `${state.impl.length} chosen` : "all";
  folders.forEach(draw);
  const left = data.tables.reduce((sum, table) => sum + chosen(table).length, 0);
  const all = data.tables.reduce((sum, table) => sum + table.rows.length, 0);
  document.getElementById("count").textContent = `${left} of ${all} cells`;
}
// What differs, cases and implementations choose rows of the tables of several runs; those without cases have no such names.
function isHidden({ same, cases, impls }) {
  if (same && state.only === "differs") return true;
  if (cases === undefined) return false;
  if (state.case && !cases.split("\n").includes(state.case)) return true;
  return state.impl.length > 0 && !impls.split("\n").some((name) => state.impl.includes(name));
}
// A table of several machines says what it leaves out.
function countRows(table) {
  const rows = [...table.tBodies[0].rows], left = rows.filter((row) => !row.hidden).length;
  const note = table.parentElement.previousElementSibling;
  note.hidden = left === rows.length;
  note.textContent = `Showing ${left} of ${rows.length} rows: those that differ, or pass the filters`;
}
// A grid says what it leaves out, and the Tab key always finds a cell of it.
function drawGrid(table) {
  for (const cell of table.querySelectorAll("[data-impl]"))
    cell.hidden = state.impl.length > 0 && !state.impl.includes(cell.dataset.impl);
  for (const row of table.querySelectorAll("tr[data-case]")) row.hidden = Boolean(state.case) && row.dataset.case !== state.case;
  const cells = [...table.querySelectorAll("td[data-tip]")], seen = cells.filter((cell) => !cell.hidden && !cell.parentElement.hidden);
  if (seen.length && !seen.some((cell) => cell.tabIndex === 0)) {
    for (const cell of cells) cell.tabIndex = -1;
    seen[0].tabIndex = 0;
  }
  const note = table.parentElement.previousElementSibling;
  const parts = [["th[data-impl]", "implementations"], ["tr[data-case]", "cases"]].flatMap(([selector, name]) => {
    const all = [...table.querySelectorAll(selector)], left = all.filter((each) => !each.hidden).length;
    return left < all.length ? [`${left} of ${all.length} ${name}`] : [];
  });
  note.hidden = parts.length === 0;
  note.firstChild.data = `Showing ${parts.join(" and ")} · `;
}
// What is chosen now is what the reader looks at: where the address led before is over.
function change(next) {
  state = { ...state, at: "", ...next };
  drawAll();
  keep();
}
const toggled = (list, name) => (list.includes(name) ? list.filter((other) => other !== name) : [...list, name]);

// What a reader does.
function begin() {
  document.querySelector(".theme").hidden = false;
  document.getElementById("theme").addEventListener("change", (event) => change({ theme: event.target.value }));
  if (only) {
    only.closest("p").hidden = false;
    only.addEventListener("change", () => change({ only: only.checked ? "differs" : "" }));
  }
  if (!form) return;
  form.hidden = false;
  for (const name of ["status", "case"])
    form.elements[name].append(...values(name).map((value) => make("option", { value, textContent: value })));
  form.querySelector("fieldset").append(...values("impl").map((value) => make("label", {}, make("input", { type: "checkbox", value }), ` ${value}`)));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => { event.preventDefault(); change({ q: "", status: "", case: "", impl: [] }); });
  form.addEventListener("input", (event) => {
    const { name, type, value } = event.target;
    change(type === "checkbox" ? { impl: toggled(state.impl, value) } : { [name]: value });
  });
  folders.forEach((details) => details.addEventListener("toggle", () => folded(details)));
  document.addEventListener("change", (event) => {
    if (event.target.dataset.column) change({ columns: toggled(state.columns, event.target.dataset.column) });
  });
  document.addEventListener("click", (event) => {
    const { sort, copy, all, whole: key } = event.target.dataset ?? {};
    if (key !== undefined) drawWhole(key);
    if (all) change({ impl: [], case: "" });
    if (sort) sortBy(sort);
    if (copy) copyLine(event.target);
  });
}
function folded(details) {
  draw(details);
  const key = details.dataset.table;
  if (printing || (details.open !== unfolded.has(key)) === state.open.includes(key)) return;
  state.open = toggled(state.open, key);
  keep();
}
// The table takes the focus of its button, which is gone; what was scrolled to stays where it is.
function drawWhole(key) {
  state.whole = [...state.whole, key];
  keep();
  const details = folders.find((one) => one.dataset.table === key), box = details.querySelector(".scroll"), at = box.scrollTop;
  draw(details);
  const grown = details.querySelector(".drawn .scroll");
  grown.scrollTop = at;
  grown.focus({ preventScroll: true });
}
function sortBy(name) {
  const table = named.get(name);
  const rest = state.sort.filter((entry) => !sorts(entry, table));
  const next = state.sort.includes(name) ? [`${name}~`] : state.sort.includes(`${name}~`) ? [] : [name];
  change({ sort: [...rest, ...next] });
}
async function copyLine(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.firstChild.data = "Copied";
  } catch { // without the right to it, the line is selected for the reader to copy
    getSelection().selectAllChildren(button.nextElementSibling);
    button.firstChild.data = "Selected";
  }
}

// The grid: one stop of the Tab key, arrow keys from cell to cell, what a cell says beside it.
const tip = document.getElementById("tip");
function say(cell) {
  tip.hidden = !cell;
  if (!cell) return;
  tip.textContent = cell.dataset.tip;
  const at = cell.getBoundingClientRect(), mine = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(at.left, innerWidth - mine.width - 4))}px`;
  tip.style.top = `${at.bottom + mine.height + 6 < innerHeight ? at.bottom + 4 : at.top - mine.height - 4}px`;
}
const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
function walk(event) {
  const step = STEPS[event.key], cell = event.target.closest("td");
  if (event.key === "Escape") return say(null);
  if (!step || !cell) return;
  event.preventDefault();
  let [row, column] = [cell.parentElement.rowIndex, cell.cellIndex];
  const rows = cell.closest("table").rows;
  for (;;) {
    [row, column] = [row + step[0], column + step[1]];
    const next = rows[row]?.cells[column];
    if (!next || next.tagName !== "TD") return;
    if (!next.hidden && !next.parentElement.hidden && next.dataset.tip) {
      cell.tabIndex = -1;
      next.tabIndex = 0;
      return next.focus();
    }
  }
}
for (const table of document.querySelectorAll(".grid")) {
  const cells = table.querySelectorAll("td[title]");
  cells.forEach((cell, k) => {
    cell.dataset.tip = cell.title;
    cell.removeAttribute("title");
    if (!cell.querySelector(".only-heard")?.textContent.includes(":")) cell.setAttribute("aria-description", cell.dataset.tip);
    cell.tabIndex = k ? -1 : 0;
  });
  const all = make("button", { type: "button", textContent: "show all" });
  all.dataset.all = "all";
  table.parentElement.before(make("p", { className: "note", hidden: true }, " ", all));
  table.addEventListener("keydown", walk);
  for (const name of ["mouseover", "focusin"]) table.addEventListener(name, (event) => say(event.target.closest("[data-tip]")));
  for (const name of ["mouseleave", "focusout"]) table.addEventListener(name, () => say(null));
}

for (const table of document.querySelectorAll(".side")) table.parentElement.before(make("p", { className: "note", hidden: true }));

// Where the address leads: a plain #place is a place of the page, and what was chosen before stays.
function follow() {
  const plain = /^#[^=&]+$/.test(location.hash) && document.getElementById(decoded(location.hash.slice(1)));
  if (plain) {
    reveal(plain);
    if (address() !== "#") change({ at: plain.id });
    return;
  }
  state = read(location.hash);
  drawAll();
  const at = state.at && document.getElementById(state.at);
  if (at) reveal(at);
}
function decoded(name) {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
function reveal(element) {
  for (let outer = element; outer; outer = outer.parentElement) if (outer.tagName === "DETAILS") outer.open = true;
  element.scrollIntoView();
}
state = read("");
begin();
addEventListener("hashchange", follow);
// Paper has no folds: all that is folded is opened for it, and folded again.
let opened = [];
addEventListener("beforeprint", () => {
  printing = true;
  opened = [...document.querySelectorAll("details:not([open]):not(.choice)")];
  for (const details of opened) details.open = true;
  folders.forEach(draw);
});
addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
  printing = false;
  folders.forEach(draw);
});
drawAll();
follow();
