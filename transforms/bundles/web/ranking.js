// The ranking of documents: transforms/search/ranker.py and ranking.py in JavaScript.

import { fuse } from "./fusion.js";
import { best } from "./lexicon.js";

const FIRST_DEPTH = 100, DEPTH_PER_DOCUMENT = 2;

export class Ranker {
  constructor(bundle, dense, lexicon) {
    this.about = bundle.about;
    this.documents = bundle.arrays.documents;
    this.dense = dense;
    this.lexicon = lexicon;
  }

  /** Return the best passage of each of the best k documents: {row, score, dense, lexical}.
   * `live` selects the passages that may be found, and is null for all. */
  rank(question, vector, mode, k, live) {
    const { passages, documents, model } = this.about;
    const hybrid = mode === "hybrid";
    const wanted = Math.min(k, documents);
    const count = live ? live.reduce((sum, each) => sum + each, 0) : passages;
    const near = vector && this.dense.scores(vector, hybrid && !model.normalize);
    const products = hybrid && !model.normalize ? this.dense.scores(vector, false) : near;
    const known = new Set(), hits = [];
    let depth = hybrid ? FIRST_DEPTH
      : passages > documents ? wanted + Math.max(wanted >> 1, 10) : wanted;
    while (count) {
      depth = Math.min(count, depth);
      const words = mode === "dense" ? null : this.lexicon.candidates(question, depth, live);
      const rows = new Set(words?.rows ?? []);
      if (vector) for (const row of best(products, depth, false, live)) rows.add(row);
      const whole = depth >= count || (mode === "lexical" && words.rows.length < depth);
      const found = this.scored([...rows], near, words?.every, mode);
      const most = hybrid && !whole ? Math.floor(depth / DEPTH_PER_DOCUMENT) : Infinity;
      const full = () => hits.length >= wanted || known.size >= most;
      for (const each of found) {
        if (full()) break;
        const document = this.documents[each.row];
        if (known.has(document)) continue;
        known.add(document);
        hits.push(each);
      }
      if (whole || hits.length >= wanted) break;
      depth *= 2;
    }
    // No score is above that of a better place.
    let least = Infinity;
    for (const hit of hits) hit.score = least = Math.min(least, hit.score);
    return hits;
  }

  scored(rows, near, words, mode) {
    const top = words && rows.reduce((most, row) => Math.max(most, words[row]), 0);
    const found = rows.map(row => {
      const dense = near ? near[row] : null, lexical = words ? words[row] : null;
      const score = mode === "hybrid" ? fuse(dense, lexical, top, this.about) : dense ?? lexical;
      return { row, score, dense, lexical };
    });
    return found.sort((a, b) => b.score - a.score || a.row - b.row);
  }
}
