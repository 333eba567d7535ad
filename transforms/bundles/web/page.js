// The page: a question box, and the hits of what is typed.

import { Bundle } from "./bundle.js";
import { marked } from "./words.js";

const form = document.getElementById("ask");
const question = document.getElementById("q");
const status = document.getElementById("status");
const list = document.getElementById("hits");
let bundle = null, timer = 0, last = 0;

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function pair(name, value, kind) {
  const made = element("div", null, kind ? { class: kind } : {});
  made.append(element("dt", name), element("dd", value));
  return made;
}

function shown(hit, asked) {
  const article = element("article", null, { tabindex: "0" });
  const passage = element("p", null, { class: "passage" });
  for (const { text, word } of marked(hit.text, asked)) {
    passage.append(word ? element("mark", text) : text);
  }
  const scores = element("dl", null, { class: "scores" });
  scores.append(pair("score", hit.score.toFixed(3)));
  if (hit.dense !== null) scores.append(pair("meaning", hit.dense.toFixed(3)));
  if (hit.lexical !== null) scores.append(pair("words", hit.lexical.toFixed(2)));
  for (const [name, value] of Object.entries(hit.metadata)) {
    const text = typeof value === "object" ? JSON.stringify(value) : String(value);
    scores.append(pair(name, text.slice(0, 200), "metadata"));
  }
  article.append(element("h2", hit.document_id), passage, scores);
  const item = element("li", null);
  item.append(article);
  return item;
}

/** Return the chosen values of columns: [[column, value], …]. */
function chosen() {
  const selects = [...form.querySelectorAll("select[data-column]")];
  return selects.filter(each => each.value).map(each => [each.dataset.column, each.value]);
}

/** Return a filter as albeam serve writes it in addresses. */
function filter(column, value) {
  return `${encodeURIComponent(column)}=${value}`;
}

function addFilters(given) {
  const options = form.querySelector(".options");
  for (const { column, values } of bundle.about.filters) {
    const select = element("select", null, { "data-column": column });
    select.append(element("option", "any", { value: "" }));
    for (const { text, documents } of values) {
      select.append(element("option", `${text} (${documents.toLocaleString("en")})`, { value: text }));
    }
    const known = given.find(each => each.startsWith(filter(column, "")));
    const value = known?.slice(filter(column, "").length);
    if (values.some(({ text }) => text === value)) select.value = value;
    const label = element("label", `${column} `);
    label.append(select);
    options.append(label);
  }
}

async function ask() {
  const asked = question.value.trim();
  const { mode, k } = Object.fromEntries(new FormData(form));
  const mine = last += 1;
  if (!bundle || !asked) {
    if (bundle) ready();
    return;
  }
  const address = new URL(location.href);
  address.search = new URLSearchParams([
    ["q", asked], ["mode", mode], ["k", k],
    ...chosen().map(each => ["f", filter(...each)]),
  ]);
  history.replaceState(null, "", address);
  const started = performance.now();
  try {
    const hits = await bundle.search(asked, mode, Number(k), chosen());
    if (mine !== last) return;
    const took = (performance.now() - started).toFixed(0);
    const count = `${hits.length} ${hits.length === 1 ? "document" : "documents"}`;
    status.textContent = hits.length
      ? `${count}, mode ${mode}, ${took} ms`
      : `No document was found. Try other words${chosen().length ? ", or any value" : ""}.`;
    list.replaceChildren(...hits.map(hit => shown(hit, asked)));
  } catch (error) {
    fail(error);
  }
}

function fail(error) {
  status.textContent = `This can't be searched: ${error.message}`;
  status.className = "error";
}

function ready() {
  const { documents, model } = bundle.about;
  status.textContent = `${documents.toLocaleString("en")} documents, model ${model.name}`;
  list.replaceChildren();
  if (!bundle.sound) {
    status.textContent += ". Some texts are read otherwise here than by albeam search.";
  }
}

function soon(wait) {
  clearTimeout(timer);
  timer = setTimeout(ask, wait);
}

question.addEventListener("input", () => soon(150));
form.addEventListener("change", event => { if (event.target !== question) soon(0); });
form.addEventListener("submit", event => { event.preventDefault(); soon(0); });
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const hits = [...document.querySelectorAll(".hits article")];
  const place = hits.indexOf(document.activeElement);
  if (event.key === "/" && !event.target.closest("input, select")) {
    event.preventDefault();
    question.focus();
    question.select();
  } else if (event.key === "ArrowDown" && (place >= 0 || document.activeElement === question)) {
    event.preventDefault();
    hits[place + 1]?.focus();
  } else if (event.key === "ArrowUp" && place >= 0) {
    event.preventDefault();
    (hits[place - 1] ?? question).focus();
  }
});

try {
  bundle = await Bundle.load(what => { status.textContent = `Loading ${what}…`; });
  for (const mode of bundle.about.modes) form.mode.append(element("option", mode));
  const given = new URLSearchParams(location.search);
  question.value ||= given.get("q") ?? "";
  for (const name of ["mode", "k"]) {
    const known = [...form[name].options].some(each => each.value === given.get(name));
    if (known) form[name].value = given.get(name);
  }
  addFilters(given.getAll("f"));
  ready();
  document.body.classList.add("ready");
  soon(0);
} catch (error) {
  fail(error);
}
