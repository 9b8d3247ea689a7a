
// ---------------------------------------------------------------------- the suspect
function draw() {
  const item = items[current];
  const decided = items.filter(decisionOf).length;
  $("bar").value = items.length ? decided / items.length : 1;
  $("count").textContent = `${decided} of ${items.length} decided`;
  $("shown").textContent = view.length === items.length ? `${items.length} suspects` : `${view.length} of ${items.length} shown`;
  document.querySelector('[data-do="undo"]').disabled = !state.undo.length;
  if (item) drawSuspect(item);
  else $("suspect").replaceChildren(make("p", {}, "Nothing is suspicious."));
  drawRows();
}

function drawSuspect(item) {
  const label = (name, place) => make("dd", {class: `label ${name}`, dir: "auto"}, classes[place]);
  const term = text => make("dt", {}, text);
  const decision = decisionOf(item);
  const facts = make("dl", {class: "facts"}, term("Labelled"), label("given", item.given));
  if (item.suggested !== item.given) facts.append(term("Suggested"), label("suggested", item.suggested));
  if (item.p !== undefined) facts.append(term("Chance it is right"), make("dd", {}, percent(item.p)));
  facts.append(term("Kind"), make("dd", {}, item.kind));
  facts.append(term(/^\d+$/.test(item.id) ? "Row" : "File"), make("dd", {dir: "ltr"}, item.id));
  facts.append(term("Decision"), make("dd", {}, decision ? make("span", {class: "decided"}, said(decision)) : "none yet"));
  $("suspect").className = item.row ? "words" : "";
  $("suspect").replaceChildren(item.row ? fields(item.row) : picture(item), facts);
  const [keep, take] = $("actions").children;
  keep.querySelector("b").textContent = classes[item.given];
  take.querySelector("b").textContent = item.suggested === item.given ? "…" : classes[item.suggested];
  take.disabled = item.suggested === item.given;
  drawNear(item);
}

const said = ([decision, label]) => `${SIGN[decision]} ${SAID[decision]}${label && ` to ${label}`}`;
const percent = p => (p > 0 && p < 0.001 ? "below 0.1%" : `${(100 * p).toFixed(1)}%`);

function picture(item) {
  if (item.picture === undefined && !item.link) return make("div", {class: "picture none"}, "no picture");
  const button = make("button", {class: "picture", "aria-label": `Full size of ${item.id}`, "aria-keyshortcuts": "f"});
  const alt = `Labelled ${classes[item.given]}`;  // without a thumbnail of its own the file itself is shown
  button.append(item.picture === undefined ? make("img", {src: item.link, alt, class: "photo"}) : image(item.picture, alt));
  button.onclick = openFull;
  return button;
}

// A thumbnail; a PNG is of few pixels, which are shown as such.
function image(place, alt = "") {
  const source = data.pictures[place];
  return make("img", {src: source, alt, class: source.startsWith("data:image/png") ? "small" : "photo"});
}

function fields(row) {
  const named = Object.entries(row);
  if (named.length === 1) return make("div", {class: "row text", tabindex: "0", dir: "auto"}, named[0][1]);
  const list = make("dl", {class: "row", tabindex: "0"});
  for (const [name, value] of named) list.append(make("dt", {dir: "auto"}, name), make("dd", {dir: "auto"}, value));
  return list;
}

function drawNear(item) {
  const near = item.near ?? [];
  $("near").hidden = !near.length;
  const list = make("ol", near.some(other => other.row) ? {class: "words"} : {});
  for (const other of near) {
    const name = make("b", {dir: "auto"}, classes[other.label]);
    if (other.label === item.given) name.className = "given";
    if (other.label === item.suggested) name.className = "suggested";
    const what = other.row ? fields(other.row) : other.picture === undefined ? null : image(other.picture);
    list.append(make("li", {title: other.id}, what, name, make("small", {dir: "ltr"}, other.id)));
  }
  $("near").replaceChildren(make("h2", {}, "Nearest neighbours, and their labels"), list);
}

function openFull() {
  const item = items[current];
  if (item.picture === undefined && !item.link) return;
  const [dialog, big, words] = [$("full"), $("full-picture"), $("full-words")];
  const thumbnail = data.pictures[item.picture];
  big.onerror = () => {
    big.onerror = null;
    if (thumbnail) big.src = thumbnail;
    const instead = thumbnail ? "; this is its thumbnail" : "";
    words.replaceChildren(`${item.id}: the file is not where it was beside this page${instead}.`);
  };
  big.alt = `Labelled ${classes[item.given]}`;
  big.className = item.link || !thumbnail.startsWith("data:image/png") ? "photo" : "small";
  big.src = item.link ?? thumbnail;
  const link = item.link && make("a", {href: item.link, target: "_blank", rel: "noopener"}, item.id);
  words.replaceChildren(link || item.id);
  dialog.showModal();
}

// ---------------------------------------------------------------------- the list: only what is in sight is drawn
function drawRows() {
  const list = $("list");
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
  const last = Math.min(view.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 4);
  $("rows").style.height = `${view.length * ROW}px`;
  $("rows").replaceChildren(...Array.from({length: Math.max(0, last - first)}, (_, i) => listRow(first + i)));
  const here = view.indexOf(current);
  list.setAttribute("aria-activedescendant", here >= first && here < last ? `item-${current}` : "");
}

const hasPictures = data.pictures.length > 0;

function listRow(at) {
  const place = view[at], item = items[place], decision = decisionOf(item);
  const row = make("div", {class: "item", role: "option", id: `item-${place}`, "aria-selected": place === current,
    "aria-posinset": at + 1, "aria-setsize": view.length});
  const labels = item.suggested === item.given ? [item.given] : [item.given, item.suggested];
  const names = labels.flatMap((label, i) => [i ? " → " : "", make("bdi", {}, classes[label])]);
  const words = make("div", {},
    make("div", {class: "line"}, ...names),
    make("div", {class: "line dim"}, item.row ? make("bdi", {}, Object.values(item.row).join(" ")) : item.id));
  const sign = decision ? make("span", {title: said(decision), "aria-label": said(decision)}, SIGN[decision[0]]) : "";
  if (hasPictures) row.append(item.picture === undefined ? make("span") : image(item.picture));
  row.append(words, sign);
  row.style.top = `${at * ROW}px`;
  row.onclick = () => {
    go(place);
    $("card").scrollIntoView({block: "start"}); // on a phone it is above the list
  };
  return row;
}

function scrollToCurrent() {
  const list = $("list"), top = view.indexOf(current) * ROW;
  if (top < 0) return;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
}

// ---------------------------------------------------------------------- decisions.csv
const COLUMNS = ["id", "given_label", "decision", "new_label", "data_sha256"];

function download() {
  const rows = items.filter(decisionOf).map(item => [item.id, classes[item.given], ...decisionOf(item), data.sha256]);
  if (!rows.length) return notify("Nothing is decided yet.");
  const link = make("a", {download: "decisions.csv"});
  link.href = URL.createObjectURL(new Blob([csvText([COLUMNS, ...rows])], {type: "text/csv"}));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  notify(`decisions.csv: ${rows.length} decisions`);
}

// Decisions of an earlier decisions.csv, as one step; what the file says replaces what is decided here.
function load(text) {
  const [header, ...rows] = csvRows(text);
  const missing = COLUMNS.filter(column => !header?.includes(column));
  if (missing.length) throw new Error(`it has no column ${missing.join(", ")}`);
  const lines = rows.map(row => COLUMNS.map(column => row[header.indexOf(column)] ?? ""));
  if (lines.some(line => line[4] !== data.sha256)) throw new Error("it is about other data");
  const known = lines.filter(([id]) => placeOf.has(id));
  for (const [id, given, decision, label] of known) {
    const fits = classes[items[placeOf.get(id)].given] === given && Object.hasOwn(SAID, decision);
    if (!fits || (decision === "relabel" ? !classes.includes(label) : label)) throw new Error(`its line about ${id} does not fit`);
  }
  if (known.length) set(known.map(([id, , decision, label]) => [id, [decision, label]]));
  const others = lines.length - known.length;
  notify(`Loaded: ${known.length} decisions${others ? `; ${others} are about labels that are not on this page` : ""}`);
  applyFilters();
  draw();
}

async function loadFile(event) {
  const [file] = event.target.files;
  event.target.value = "";
  try {
    if (file) load(await file.text());
  } catch (error) {
    notify(`${file.name} was not loaded: ${error.message}.`);
  }
}

// ---------------------------------------------------------------------- putting it together
let silence = 0;

function notify(text) {
  $("notice").textContent = text;
  clearTimeout(silence);
  silence = setTimeout(() => ($("notice").textContent = ""), 4000);
}

// After a click with the mouse the keys are for the next suspect again, not for the button.
function act(event, action) {
  action();
  if (event.detail) event.currentTarget.blur();
}

function start() {
  document.title = $("title").textContent = $("title").title = data.title;
  $("words").textContent = data.words;
  fillFilters();
  drawDigits();
  $("rows").className = hasPictures ? "pictures" : "";
  $("actions").hidden = $("digits").hidden = !items.length;
  for (const button of document.querySelectorAll("[data-do]")) button.onclick = event => act(event, ACTIONS[button.dataset.do]);
  for (const select of document.querySelectorAll("#filters select")) {
    select.onchange = () => {
      applyFilters();
      if (!view.includes(current) && view.length) current = view[0];
      $("list").scrollTop = 0;
      draw();
      scrollToCurrent();
    };
  }
  $("help").onclick = ACTIONS.help;
  $("download").onclick = download;
  $("load").onclick = () => $("file").click();
  $("file").onchange = loadFile;
  $("list").addEventListener("scroll", () => requestAnimationFrame(drawRows), {passive: true});
  window.addEventListener("resize", drawRows);
  $("shortcuts").checked = state.shortcuts;
  $("shortcuts").onchange = () => {
    state.shortcuts = $("shortcuts").checked;
    saveState();
  };
  window.addEventListener("storage", event => { // the same page in another tab
    if (event.key !== KEY) return;
    state = readState();
    applyFilters();
    draw();
  });
  window.addEventListener("beforeunload", event => saved || event.preventDefault());
  applyFilters();
  current = Math.max(0, items.findIndex(item => !decisionOf(item)));
  draw();
  scrollToCurrent();
}

start();
