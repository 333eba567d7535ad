// The words of a question, each with its terms: transforms/index/lexical/analyzer.py in JavaScript.

import { Folding, RESPELLING, clean, isAscii } from "./folding.js";
import { WordSplitter } from "./splitting.js";

const ACCENTS_FOLDED = new Set(["dutch", "english", "german", "greek", "none"]);
const LONGEST_STEMMED = 100;
/** White space as Python has it. */
const SPACES = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/u;

/** Turns questions into words: {terms, parts}. */
export class Analyzer {
  constructor(tables, language, stem) {
    this.folding = new Folding(tables, language);
    this.splitter = new WordSplitter(tables.classes, language);
    this.keepsAccents = !ACCENTS_FOLDED.has(language);
    this.stemsAscii = !RESPELLING.has(language);
    this.stem = stem;
  }

  /** Return the words of a text. */
  words(text) {
    return text.split(SPACES).filter(Boolean).flatMap(each => this.between(clean(each)));
  }

  between(text) {
    const found = this.splitter.split(text);
    const words = found.single.map(each => ({ terms: this.terms(each), parts: [] }));
    for (const { whole, parts } of found.compounds) {
      const inner = parts.map(part => this.terms(part));
      const known = new Set(inner.flat());
      const terms = this.terms(whole);
      if (terms.some(each => !known.has(each))) words.push({ terms, parts: inner });
      else words.push(...inner.map(each => ({ terms: each, parts: [] })));
    }
    const plain = each => this.folding.plain(this.folding.fold(each)) || each;
    return [...words, ...found.names.map(each => ({ terms: [plain(each)], parts: [] }))];
  }

  terms(word) {
    const { folding } = this;
    if ([...word].length > LONGEST_STEMMED) return [folding.plain(folding.fold(word))];
    if (this.stemsAscii && isAscii(word)) return [this.stemFolded(word.toLowerCase())];
    const folded = folding.foldings(word).map(each => folding.respell(each));
    const terms = folded.map(each => this.stemFolded(each));
    if (this.keepsAccents) {
      const accented = folding.keepAccents(word);
      if (accented !== folded[0]) {
        terms.unshift(folding.plain(this.stem(accented)) || accented);
      }
    }
    return [...new Set(terms)];
  }

  stemFolded(word) {
    return this.stem(this.folding.plain(word)) || word;
  }
}
