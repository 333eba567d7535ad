// Words of a text, and the compounds that they are in: transforms/index/lexical/words.py and
// compounds.py in JavaScript.

const JOINT = "(?:_+|[\\-'.·\\u200b\\u200c])";
const LINK = "(?:[._\\-]?[\\/\\\\:@&=?%~+#][\\/\\\\:@&=?%~+#._\\-]{0,2})";
const WORD = "[\\p{L}\\p{N}_]";
const LETTER = "[\\p{L}\\p{Nl}\\p{No}]";
const HAS_SIGN = /[-'.·\u200b\u200c_,/\\:@&=?%~+#]/u;
const AT_JOINT = new RegExp(JOINT, "u");
const AT_LINK = new RegExp(LINK, "u");
const ENDS_IN_SIGN = new RegExp(
  `(?<!${WORD})${LETTER}${WORD}*(?:\\+\\+|#(?!${WORD})|\\+(?!${WORD}|\\+))`, "gu");
const BEGINS_WITH_POINT = new RegExp(`(?<!${WORD}|[.\\/\\\\])\\.${LETTER}${WORD}*`, "gu");
const THOUSANDS = /(?<![\p{Nd},])\p{Nd}{1,3}(?:,\p{Nd}{3})+(?![\p{Nd},])/gu;
const DIGITS = /^\p{Nd}+$/u;
const CAMEL = /(?<=a)(?=A)|(?<=0)(?=Aaa)|(?<=A)(?=Aaa)/g;
const MOST_PARTS = 8;
const CONTRACTED = new Set(["s", "ll", "re", "ve", "d", "m"]);
const ELIDED = {
  french: "c d j jusqu l lorsqu m n puisqu qu quoiqu s t",
  italian: "agl all c coll d dagl dall degl dell gl l m negl nell pell s sugl sull t un v",
};
const CHARACTERS = new RegExp(
  "([\\u3005-\\u3007\\u3041-\\u3096\\u309d-\\u309f\\u30a1-\\u30fa\\u30fc-\\u30ff\\u3105-\\u312f"
  + "\\u3400-\\u4dbf\\u4e00-\\u9fff\\u0e01-\\u0e3a\\u0e40-\\u0e4e\\u{20000}-\\u{323af}]+)", "u");
const SIMPLE = new RegExp(
  "^[0-9a-zA-Z\\u00c0-\\u00d6\\u00d8-\\u00f6\\u00f8-\\u024f\\u0386\\u0388-\\u03ff\\u0400-\\u0481"
  + "\\u048a-\\u052f\\u05d0-\\u05ea\\u0620-\\u063f\\u0641-\\u064a\\u0671-\\u06d3\\u0901-\\u0963"
  + "\\u1e00-\\u1eff\\uac00-\\ud7a3]+$", "u");
const BEFORE = new Set("([{\"'«„“‘‚¿¡「『（《");
const AFTER = new Set(".,;:!?)]}\"'»“”’…。、，！？：；）》」』।؟،؛");
const ASCII_WORD = /[0-9a-zA-Z]+/g;
const ASCII_COMPOUND = new RegExp(`(?<![0-9a-zA-Z])${compound("[0-9a-zA-Z]+")}`, "gu");

function compound(word) {
  return `${word}(?:(?:${JOINT}|${LINK})${word})+`;
}

function withoutEnd(letters) {
  let end = letters.length;
  while (end && AFTER.has(letters[end - 1])) end -= 1;
  return letters.slice(0, end);
}

/** Return the parts of a camelCase name; none of another word. */
export function camelParts(word) {
  const letters = [...word];
  const rest = letters.slice(1).join("");
  const upper = /\p{Uppercase}/u.test(word) && !/[\p{Lowercase}\p{Lt}]/u.test(word);
  if (rest === rest.toLowerCase() || upper) return [];
  const shape = letters.map(each =>
    /\p{Uppercase}/u.test(each) ? "A" : /\p{Lowercase}/u.test(each) ? "a" : "0").join("");
  const cuts = [...shape.matchAll(CAMEL)].map(each => each.index);
  if (!cuts.length || cuts.length >= MOST_PARTS) return [];
  return [0, ...cuts].map((start, place) =>
    letters.slice(start, cuts[place] ?? letters.length).join(""));
}

function simpleWord(text) {
  let letters = [...text];
  let start = 0;
  while (start < letters.length && BEFORE.has(letters[start])) start += 1;
  letters = withoutEnd(letters.slice(start));
  const word = letters.join("");
  if (!SIMPLE.test(word) || word !== word.normalize("NFKC")) return "";
  return camelParts(word).length ? "" : word;
}

function isName(link) {
  if (link.includes("_")) return true;
  return link.includes(".")
    && link.split(".").some(part => [...part].length > 1 || DIGITS.test(part));
}

function versions(name) {
  return /^[vV]\p{Nd}/u.test(name) ? [name, name.slice(1)] : [name];
}

function names(found) {
  const links = found.split(AT_LINK);
  const every = [];
  for (const link of links.filter(isName)) {
    every.push(...versions(link));
    const parts = link.split("-");
    if (parts.length > 1) every.push(...parts.filter(isName).flatMap(versions));
  }
  return links.length > 1 ? [...every, found] : every;
}

function joined(found, elided) {
  const every = [];
  for (const link of found.split(AT_LINK)) {
    const parts = link.split(AT_JOINT);
    if (parts.length < 2 || parts.length > MOST_PARTS || isName(link)) continue;
    const contracted = link.includes("'") && CONTRACTED.has(parts.at(-1).toLowerCase());
    const digits = parts.every(part => DIGITS.test(part));
    if (!contracted && !digits && !elided.has(parts[0].toLowerCase())) {
      every.push({ whole: parts.join(""), parts });
    }
  }
  return every;
}

/** Splits cleaned texts without spaces, in which case and accents still stand. */
export class WordSplitter {
  constructor(classes, language) {
    const members = name => classes[name].map(([first, last]) =>
      `\\u{${first.toString(16)}}-\\u{${last.toString(16)}}`).join("");
    const letters = `[${members("letter")}]+`;
    this.elided = new Set((ELIDED[language] ?? "").split(" "));
    this.words = new RegExp(`${letters}|[${members("unspaced")}]|[${members("symbol")}]`, "gu");
    this.compounds = new RegExp(compound(letters), "gu");
  }

  /** Return the words of a text: {single, compounds, names}. */
  split(text) {
    const words = { single: [], compounds: [], names: [] };
    if (/^[\x00-\x7f]*$/.test(text)) {
      this.add(text, ASCII_WORD, ASCII_COMPOUND, words);
      return words;
    }
    // Where characters are words, they have the odd places.
    for (const [place, each] of text.split(CHARACTERS).entries()) {
      const word = place % 2 ? "" : simpleWord(each);
      if (place % 2) words.single.push(...each);
      else if (word) words.single.push(word);
      else if (withoutEnd([...each]).length) this.add(each, this.words, this.compounds, words);
    }
    return words;
  }

  add(text, findWords, findCompounds, words) {
    const joint = new Map();
    if (HAS_SIGN.test(text)) {
      for (const pattern of [ENDS_IN_SIGN, BEGINS_WITH_POINT]) {
        words.names.push(...(text.match(pattern) ?? []));
      }
      words.names.push(...(text.match(THOUSANDS) ?? []).map(each => each.replaceAll(",", "")));
      for (const found of text.match(findCompounds) ?? []) {
        words.names.push(...names(found));
        for (const each of joined(found, this.elided)) {
          for (const part of each.parts) joint.set(part, (joint.get(part) ?? 0) + 1);
          const parts = [...each.parts, ...each.parts.flatMap(camelParts)];
          words.compounds.push({ whole: each.whole, parts });
        }
      }
    }
    for (const word of text.match(findWords) ?? []) {
      const parts = camelParts(word);
      if (joint.get(word)) joint.set(word, joint.get(word) - 1);
      else if (parts.length) words.compounds.push({ whole: word, parts });
      else words.single.push(word);
    }
  }
}
