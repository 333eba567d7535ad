// What makes two spellings of a word one: transforms/index/lexical/folding.py in JavaScript.

const INVISIBLE_CLASS = "\\u00ad\\u034f\\u0600-\\u0605\\u061c\\u06dd\\u070f\\u0890\\u0891\\u08e2\\u17b4"
  + "\\u17b5\\u180b-\\u180f\\u200d-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\ufe00-\\ufe0f\\ufeff"
  + "\\ufff9-\\ufffb\\u{110bd}\\u{110cd}\\u{13430}-\\u{1343f}\\u{1bca0}-\\u{1bca3}"
  + "\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e0fff}";
const INVISIBLE = new RegExp(`[${INVISIBLE_CLASS}]+`, "gu");
const NON_JOINER =
  /(?<![\u0600-\u06ff\u0750-\u077f])\u200c|\u200c(?![\u0600-\u06ff])/gu;
const LETTER = "[\\p{L}\\p{Nl}\\p{No}]";
const APOSTROPHES = "\\u02bb-\\u02bf\\u2018\\u2019\\u201b\\u2032\\u055a\\ua78b\\ua78c";
const APOSTROPHE = new RegExp(
  `(?<=${LETTER})(?:[${APOSTROPHES}]`
  + `|(?<=[\\u05d0-\\u05ea])["\\u05f3\\u05f4](?=[\\u05d0-\\u05ea]))(?=${LETTER})`, "gu");
const HYPHENS = "\\u2010\\u2011\\u2013\\u2212\\u05be\\u1806\\u30a0";
const HYPHEN = new RegExp(`[${HYPHENS}]`, "gu");
const REPLACED = new RegExp(
  `[${INVISIBLE_CLASS}${APOSTROPHES}${HYPHENS}"\\u200c\\u05f3\\u05f4\\ud800-\\udfff]`, "u");
const RESPELT = /[\u0345\u1f80-\u1fff]|\u0928\u094d/u;
const UMLAUT = /(?<=[ao])e|(?<=u)(?<![aeiouyq]u)e/gu;
const LONG_A = /aa|ae/gu;
const NORDIC = new Set(["danish", "norwegian", "swedish"]);
const ASCII = /^[\x00-\x7f]*$/;

/** Languages in which a word of ASCII may be another spelling of a word with other letters. */
export const RESPELLING = new Set([...NORDIC, "german", "turkish"]);

/** Return whether a text is ASCII. */
export function isAscii(text) {
  return ASCII.test(text);
}

/** Normalize a text to NFKC without invisible characters; case and accents stay. */
export function clean(text) {
  if (isAscii(text)) return text;
  if (REPLACED.test(text)) {
    text = text.replace(/[\ud800-\udfff]/gu, "?").replace(INVISIBLE, "");
    text = text.replace(NON_JOINER, "").replaceAll("\u00b4", "\u2019").replace(HYPHEN, "-");
  }
  return text.normalize("NFKC").replace(APOSTROPHE, "'");
}

/** The foldings of words, by the tables of the bundle. */
export class Folding {
  constructor(tables, language) {
    this.tables = tables;
    this.language = language;
    const ranges = tables.marks.map(([first, last]) =>
      `\\u{${first.toString(16)}}-\\u{${last.toString(16)}}`);
    this.marks = new RegExp(`[${ranges.join("")}]`, "gu");
  }

  /** Return a word without case, accents and points. */
  fold(word) {
    if (isAscii(word)) return word.toLowerCase();
    return this.changed(word, this.tables.folded).normalize("NFC") || word;
  }

  /** Return `fold` of a word, and of other spellings that have other letters. */
  foldings(word) {
    const found = [this.fold(word)];
    if (RESPELT.test(word)) {
      found.push(this.fold(this.caseless(word)));
      found.push(this.fold(word.replaceAll("\u0928\u094d", "\u0902")));
    }
    return found;
  }

  /** Return a folded word as if its language had no umlauts. */
  respell(folded) {
    if (this.language === "german") return folded.replace(UMLAUT, "");
    if (NORDIC.has(this.language)) return folded.replace(LONG_A, "a").replaceAll("oe", "o");
    return folded;
  }

  /** Return a word in lower case, with those accents that make a letter of its own. */
  keepAccents(word) {
    if (this.language === "turkish") word = word.replaceAll("I", "ı").replaceAll("İ", "i");
    if (isAscii(word)) return word.toLowerCase();
    word = this.caseless(word).normalize("NFKC");
    if (this.language === "russian") word = word.replaceAll("ё", "е");
    return /^\p{L}+$/u.test(word) ? word : word.replace(this.marks, "") || word;
  }

  /** Return a word in ASCII letters where there are such, each in lower case. */
  plain(word) {
    if (isAscii(word)) return word.toLowerCase();
    return [...this.changed(word, this.tables.ascii)].map(each => each.toLowerCase()).join("");
  }

  caseless(word) {
    const { cases } = this.tables;
    return [...word].map(each => cases[each] ?? each.toLowerCase()).join("");
  }

  changed(word, table) {
    return [...word].map(each => table[each] ?? each).join("");
  }
}
