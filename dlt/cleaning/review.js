
const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const {classes, items} = data;
const ROW = 48; // pixels, as .item in the style
const UNDOS = 1000;
const SAID = {keep: "kept", relabel: "relabelled", ambiguous: "ambiguous", drop: "dropped"};
const SIGN = {keep: "✓", relabel: "→", ambiguous: "?", drop: "✕"};
const placeOf = new Map(items.map((item, place) => [item.id, place]));

// An element with attributes and children; texts stay texts, whatever is in them.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter(child => child !== null));
  return element;
}

// ---------------------------------------------------------------------- what is decided, and kept in the browser
// state.decided: {id: [decision, new class or ""]}; state.undo: entries of [[id, what it was, or null], ...].
const KEY = `dlt-review:${data.sha256}`;
let state = readState();
let saved = true;

function readState() {
  const empty = {decided: {}, undo: [], shortcuts: true};
  try {
    return {...empty, ...JSON.parse(localStorage.getItem(KEY))};
  } catch {
    return empty;
  }
}

function saveState() {
  try {
    localStorage.setItem(KEY, JSON.stringify(state));
    saved = true;
  } catch {
    if (saved) notify("This browser keeps nothing for this page: download decisions.csv before you close it.");
    saved = false;
  }
}

const decisionOf = item => (Object.hasOwn(state.decided, item.id) ? state.decided[item.id] : null);

// Sets [[id, decision or null], ...] in one step, which one undo takes back.
function set(changes) {
  state.undo.push(changes.map(([id]) => [id, state.decided[id] ?? null]));
  state.undo = state.undo.slice(-UNDOS);
  put(changes);
}

function put(changes) {
  for (const [id, decision] of changes) {
    if (decision) state.decided[id] = decision;
    else delete state.decided[id];
  }
  saveState();
}

// ---------------------------------------------------------------------- what is looked at
let view = []; // places in items, of those that the filters let through
let current = 0; // a place in items

const FILTERS = {
  given: (item, value) => item.given === Number(value),
  suggested: (item, value) => item.suggested === Number(value),
  kind: (item, value) => item.kind === value,
  state: (item, value) => {
    const decision = decisionOf(item);
    return value === "undecided" ? !decision : value === "decided" ? Boolean(decision) : decision?.[0] === value;
  },
};

function applyFilters() {
  const active = Object.keys(FILTERS).filter(name => $(`by-${name}`).value !== "");
  view = [...items.keys()].filter(place => active.every(name => FILTERS[name](items[place], $(`by-${name}`).value)));
}

function fillFilters() {
  const options = (name, all, values) =>
    $(`by-${name}`).append(make("option", {value: ""}, all), ...values.map(([value, text]) => make("option", {value}, text)));
  for (const name of ["given", "suggested", "kind"]) {
    const counts = new Map();
    for (const item of items) counts.set(item[name], (counts.get(item[name]) ?? 0) + 1);
    const values = [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
    options(name, "all", values.map(([value, count]) => [value, `${name === "kind" ? value : classes[value]} (${count})`]));
  }
  options("state", "all", ["undecided", "decided", ...Object.keys(SAID)].map(value => [value, SAID[value] ?? value]));
}

// The next place of the view after `from`, round its end, that `wanted` likes; -1 if none.
function after(from, wanted) {
  const start = view.findIndex(place => place > from);
  const turned = start < 0 ? view : [...view.slice(start), ...view.slice(0, start)];
  return turned.find(place => place !== from && wanted(items[place])) ?? -1;
}

function move(step) {
  const at = view.indexOf(current);
  const here = at >= 0 ? at + step : step > 0 ? view.findIndex(place => place > current) : view.findLastIndex(place => place < current);
  if (view[here] !== undefined) go(view[here]);
}

function go(place) {
  current = place;
  draw();
  scrollToCurrent();
}

// ---------------------------------------------------------------------- deciding
function decide(decision, label = "") {
  const item = items[current];
  if (!item) return;
  const next = after(current, other => !decisionOf(other));
  set([[item.id, [decision, label]]]);
  applyFilters();
  if (next >= 0) current = next;
  notify(`${SAID[decision]}${label && ` to ${label}`}: ${item.id}${next < 0 ? ". All shown here are decided." : ""}`);
  draw();
  scrollToCurrent();
}

function relabel(label) {
  if (label === items[current]?.given) decide("keep");
  else decide("relabel", classes[label]);
}

const ACTIONS = {
  keep: () => decide("keep"),
  take: () => {
    const item = items[current];
    if (item && item.suggested !== item.given) relabel(item.suggested);
    else if (item) notify("No other label is suggested for this one.");
  },
  choose: () => items.length && openPicker(),
  ambiguous: () => decide("ambiguous"),
  drop: () => decide("drop"),
  undo: () => {
    const changes = state.undo.pop();
    if (!changes) return notify("There is nothing to undo.");
    put(changes);
    applyFilters();
    notify(changes.length > 1 ? `Undone: ${changes.length} decisions` : `Undone: ${changes[0][0]}`);
    go(placeOf.get(changes[0][0]) ?? current);
  },
  previous: () => move(-1),
  next: () => move(1),
  full: () => items[current] && openFull(),
  help: () => $("help-dialog").showModal(),
};

const KEYS = {
  k: "keep", s: "take", Enter: "take", c: "choose", a: "ambiguous", d: "drop", u: "undo", f: "full", "?": "help",
  j: "previous", ArrowLeft: "previous", ArrowUp: "previous", l: "next", ArrowRight: "next", ArrowDown: "next",
};

document.addEventListener("keydown", event => {
  const at = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (at.closest("input, select, textarea") || (event.key === "Enter" && at.closest("button, a"))) return;
  if (at.closest(".row") && event.key.startsWith("Arrow")) return; // it scrolls
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (!state.shortcuts && key !== "?" && !key.startsWith("Arrow")) return;
  const action = ACTIONS[KEYS[key]] ?? (digits.has(key) && items.length ? () => relabel(digits.get(key)) : null);
  if (!action || (event.repeat && !/previous|next/.test(KEYS[key]))) return;
  event.preventDefault();
  action();
});

// ---------------------------------------------------------------------- classes by digit, and by name
// {digit: class}. Classes named by digits have their own; else the classes in order, of many the ten most suggested.
const digits = (() => {
  if (classes.every(name => /^\d$/.test(name))) return new Map(classes.map((name, label) => [name, label]));
  const counts = classes.map(() => 0);
  for (const item of items) counts[item.suggested] += 1;
  const most = [...classes.keys()].sort((a, b) => counts[b] - counts[a]).slice(0, 10).sort((a, b) => a - b);
  return new Map(most.map((label, place) => [String((place + 1) % 10), label]));
})();

function drawDigits() {
  $("digits").replaceChildren(...[...digits].map(([digit, label]) => {
    const button = make("button", {"aria-keyshortcuts": digit}, make("kbd", {}, digit), make("span", {dir: "auto"}, classes[label]));
    button.onclick = event => act(event, () => relabel(label));
    return button;
  }));
}

const plain = text => text.normalize("NFKD").replace(/\p{Mn}/gu, "").toLowerCase();
let found = []; // classes that the picker lists
let chosen = 0; // a place in them

function openPicker() {
  $("search").value = "";
  find();
  $("picker").showModal();
  $("search").focus();
}

function find() {
  const wanted = plain($("search").value.trim());
  const begins = label => !plain(classes[label]).startsWith(wanted);
  found = [...classes.keys()].filter(label => plain(classes[label]).includes(wanted)).sort((a, b) => begins(a) - begins(b));
  chosen = 0;
  drawFound();
}

function drawFound() {
  $("found").replaceChildren(...found.map((label, place) => {
    const option = make("li", {role: "option", id: `class-${label}`, "aria-selected": place === chosen, dir: "auto"}, classes[label]);
    option.onclick = () => pick(label);
    return option;
  }));
  if (!found.length) $("found").append(make("li", {}, "No class has that in its name."));
  $("search").setAttribute("aria-activedescendant", found.length ? `class-${found[chosen]}` : "");
  $("found").children[chosen]?.scrollIntoView({block: "nearest"});
}

function pick(label) {
  $("search").blur(); // else it has the keys until the next frame
  $("picker").close();
  relabel(label);
}

$("search").oninput = find;
$("search").onkeydown = event => {
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
  if (event.key === "Enter" && found.length) pick(found[chosen]);
  else if (step && found.length) chosen = (chosen + step + found.length) % found.length;
  else return;
  event.preventDefault();
  drawFound();
};
