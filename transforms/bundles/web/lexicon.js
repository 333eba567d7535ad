// The postings of a bundle, ranked by BM25: transforms/bundles/edge/lexicon.py in JavaScript.

const K1 = Math.fround(1.2), B = Math.fround(0.75);
const MAX_TERMS = 64, LARGE = 100_000, COMMON = 0.1, AT_ONCE = 1_000;
const round = Math.fround;

function fieldLengths() {
  return Array.from({ length: 256 }, (_, place) => {
    const code = place - 24;
    if (code < 8) return place;
    return 24 + ((code & 7 | 8) << (code >> 3) - 1);
  });
}

export class Lexicon {
  constructor(bundle, terms, analyzer) {
    const { about, arrays } = bundle;
    this.rows = about.lexical.rows;
    this.live = about.passages;
    this.arrays = arrays;
    this.analyzer = analyzer;
    this.places = new Map(terms.map((term, place) => [term, place]));
    const average = round(round(about.lexical.tokens) / round(Math.max(this.rows, 1)));
    const norms = fieldLengths().map(length =>
      round(K1 * round(round(1 - B) + round(round(B * length) / average))));
    this.norms = Float32Array.from(arrays.lengths, code => norms[code]);
  }

  held(term) {
    const place = this.places.get(term);
    return place === undefined ? 0 : this.arrays.held[place];
  }

  rarity(held) {
    return Math.log1p((this.rows - held + 0.5) / (held + 0.5));
  }

  rarest(terms) {
    return terms.length ? this.rarity(Math.min(...terms.map(each => this.held(each)))) : 0;
  }

  /** Return the words of a question with the largest weights, of those that a passage has. */
  asked(question) {
    const asked = new Map();
    const known = new Map();
    for (const word of this.analyzer.words(question)) {
      const key = JSON.stringify(word);
      known.set(key, { word, count: (known.get(key)?.count ?? 0) + 1 });
    }
    for (const { word, count } of known.values()) {
      const every = [...word.terms, ...word.parts.flat()];
      const terms = word.terms.filter(each => this.held(each));
      const parts = word.parts.map(part => part.filter(each => this.held(each)))
        .filter(part => part.length);
      if (!terms.length && !parts.length) continue;
      const apart = parts.reduce((sum, part) => sum + this.rarest(part), 0);
      const key = JSON.stringify([terms, parts]);
      const times = count + (asked.get(key)?.count ?? 0);
      const weight = times * Math.max(this.rarest(terms), apart);
      const share = Math.max(...every.map(each => this.held(each))) / this.rows;
      asked.set(key, { key, terms, parts, count: times, share, weight });
    }
    const order = (one, other) => (one.key < other.key ? -1 : 1);
    return [...asked.values()].sort((a, b) => b.weight - a.weight || order(a, b))
      .slice(0, MAX_TERMS).sort(order);
  }

  /** Return the scores of all rows. */
  scores(asked) {
    const total = new Float32Array(this.live);
    for (const word of asked) {
      const found = this.any(word.terms, word.count);
      if (word.parts.length) {
        const apart = new Float32Array(this.live);
        for (const part of word.parts) this.any(part, word.count).forEach((s, row) => { apart[row] += s; });
        apart.forEach((score, row) => { if (score > found[row]) found[row] = score; });
      }
      found.forEach((score, row) => { total[row] += score; });
    }
    return total;
  }

  any(terms, times) {
    const found = new Float32Array(this.live);
    const { starts, rows, counts } = this.arrays;
    for (const term of terms) {
      const place = this.places.get(term);
      const weight = round(round(this.rarity(this.held(term))) * round(1 + K1));
      for (let at = starts[place]; at < starts[place + 1]; at += 1) {
        const row = rows[at], count = counts[at];
        const share = round(count / round(count + this.norms[row]));
        found[row] = Math.max(found[row], round(round(times * weight) * share));
      }
    }
    return found;
  }

  /** Return about the best rows that share a term with a question, and the scores of all rows. */
  candidates(question, wanted, live) {
    const words = this.asked(question);
    const every = this.scores(words);
    const rare = words.filter(each => each.share <= COMMON);
    if (this.rows > LARGE && wanted <= AT_ONCE && rare.length && rare.length < words.length) {
      const rows = best(this.scores(rare), wanted, true, live);
      if (rows.length === wanted) return { rows, every };
    }
    return { rows: best(every, wanted, true, live), every };
  }
}

/** Return the rows of the best scores, of equal ones those with lower numbers; `live` selects. */
export function best(scores, wanted, positive, live) {
  const rows = [];
  for (let row = 0; row < scores.length; row += 1) {
    if ((!positive || scores[row] > 0) && (!live || live[row])) rows.push(row);
  }
  rows.sort((a, b) => scores[b] - scores[a] || a - b);
  return rows.slice(0, wanted);
}
