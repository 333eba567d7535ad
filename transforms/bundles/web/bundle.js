// A bundle: its files, its model, and the search over them.

import { Analyzer } from "./analysis.js";
import { Dense, widened } from "./dense.js";
import { Lexicon } from "./lexicon.js";
import { Ranker } from "./ranking.js";
import * as ort from "./vendor/onnxruntime.js";
import { Tokenizer } from "./vendor/tokenizers.js";

const KINDS = {
  "|u1": Uint8Array, "<u2": Uint16Array, "<u4": Uint32Array, "|i1": Int8Array,
  "<f4": Float32Array, "<f2": Uint16Array,
};
const LONGEST_QUESTION = 8_192;

/** What tells the files of this bundle from those of an earlier one, which a browser may keep. */
let id = "";

async function get(name, what) {
  const address = new URL(name, import.meta.url);
  if (id) address.search = id;
  const answer = await fetch(address, { cache: id ? "default" : "no-cache" });
  if (!answer.ok) throw new Error(`${name}: status ${answer.status}`);
  return answer[what]();
}

export class Bundle {
  /** Load all but the passages; `tell` receives what is being loaded. */
  static async load(tell) {
    const bundle = new Bundle();
    tell("the vectors");
    bundle.about = await get("bundle.json", "json");
    id = bundle.about.id;
    bundle.arrays = {};
    await Promise.all(Object.entries(bundle.about.arrays).map(async ([name, { file, dtype }]) => {
      const array = new KINDS[dtype](await get(file, "arrayBuffer"));
      bundle.arrays[name] = dtype === "<f2" ? widened(array) : array;
    }));
    const lexicon = bundle.about.lexical && await bundle.openLexicon();
    bundle.ranker = new Ranker(bundle, new Dense(bundle), lexicon);
    tell("the model");
    await bundle.openModel();
    bundle.passages = new Map();
    return bundle;
  }

  async openLexicon() {
    const { language } = this.about.lexical;
    const [tables, terms] = await Promise.all(
      [get("characters.json", "json"), get("terms.txt", "text")]);
    let stem = word => word;
    if (language !== "none") {
      const module = await import("./vendor/stemmer.js");
      await module.default({ module_or_path: await get("vendor/stemmer.wasm", "arrayBuffer") });
      const name = language[0].toUpperCase() + language.slice(1);
      const stemmer = new module.Stemmer(module.Languages[name]);
      stem = word => stemmer.stem(word);
    }
    this.analyzer = new Analyzer(tables, language, stem);
    return new Lexicon(this, terms.split("\n"), this.analyzer);
  }

  async openModel() {
    const [binary, model, tokenizer] = await Promise.all([
      get("vendor/onnxruntime.wasm", "arrayBuffer"), get("model.onnx", "arrayBuffer"),
      get("tokenizer.json", "json")]);
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmBinary = binary;
    ort.env.logLevel = "error";
    this.session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
    this.tokenizer = new Tokenizer(tokenizer, {});
    const { checks } = this.about.model;
    this.sound = checks.every(({ question, ids }) => `${this.tokens(question)}` === `${ids}`);
  }

  /** Return the ids of a question after the prompt, cut to what the model reads. */
  tokens(question) {
    const { prompt, prefix, suffix, max_tokens: most } = this.about.model;
    const { ids } = this.tokenizer.encode(prompt + question, { add_special_tokens: false });
    return [...prefix, ...ids.slice(0, most - prefix.length - suffix.length), ...suffix];
  }

  /** Return the vector of a question. */
  async encode(question) {
    const ids = BigInt64Array.from(this.tokens(question), BigInt);
    const given = array => new ort.Tensor("int64", array, [1, ids.length]);
    const found = await this.session.run(
      { input_ids: given(ids), attention_mask: given(ids.map(() => 1n)) });
    return Object.values(found)[0].data;
  }

  /** Return the passages of documents that have a value of each column: [[column, value], …]. */
  live(chosen) {
    if (!chosen.length) return null;
    const { filter_starts: starts, filter_rows: rows } = this.arrays;
    const places = this.about.filters.flatMap(
      ({ column, values }) => values.map(({ text }) => JSON.stringify([column, text])));
    const met = new Uint8Array(this.about.passages);
    for (const each of chosen) {
      const place = places.indexOf(JSON.stringify(each));
      if (place < 0) throw new Error(`no document has the ${each[0]} ${each[1]}`);
      for (let at = starts[place]; at < starts[place + 1]; at += 1) met[rows[at]] += 1;
    }
    return met.map(count => (count === chosen.length ? 1 : 0));
  }

  /** Return the hits of a question, with the keys of `albeam search --json`. */
  async search(question, mode, k, chosen = []) {
    const live = this.live(chosen);
    const asked = question.slice(0, LONGEST_QUESTION);
    const vector = mode === "lexical" ? null : await this.encode(asked);
    const found = this.ranker.rank(asked, vector, mode, k, live);
    const passages = await Promise.all(found.map(({ row }) => this.passage(row)));
    return found.map(({ score, dense, lexical }, place) =>
      ({ rank: place + 1, score, ...passages[place], dense, lexical }));
  }

  async passage(row) {
    const size = this.about.group_rows, group = Math.floor(row / size);
    const name = `passages/${String(group).padStart(5, "0")}.json`;
    if (!this.passages.has(group)) {
      const loading = get(name, "json");
      this.passages.set(group, loading);
      loading.catch(() => this.passages.delete(group));
    }
    return (await this.passages.get(group))[row % size];
  }
}
