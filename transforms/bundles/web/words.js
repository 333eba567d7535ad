// The words of a question in a passage, to mark them: pipeline/serving/page/words.py in JavaScript.

const WORD = /[\p{L}\p{N}_]+/gu;
const SHORT = 4, STEM = 5, MOST_ENDING = 3;

/** Return a passage in pieces: {text, word}, where `word` says that the question has it. */
export function marked(text, question) {
  const words = question.match(WORD) ?? [];
  const longer = words.filter(each => each.length >= SHORT || each !== each.toLowerCase());
  const wanted = (longer.length ? longer : words).map(each => each.toLowerCase());
  const pieces = [];
  let place = 0;
  for (const found of text.matchAll(WORD)) {
    if (!wanted.some(each => alike(found[0].toLowerCase(), each))) continue;
    if (found.index > place) pieces.push({ text: text.slice(place, found.index), word: false });
    pieces.push({ text: found[0], word: true });
    place = found.index + found[0].length;
  }
  if (place < text.length) pieces.push({ text: text.slice(place), word: false });
  return pieces;
}

function alike(one, other) {
  if (one === other) return true;
  let shared = 0;
  while (shared < one.length && shared < other.length && one[shared] === other[shared]) shared += 1;
  const least = Math.min(STEM, Math.max(SHORT, one.length), Math.max(SHORT, other.length));
  return shared >= least && Math.max(one.length, other.length) - shared <= MOST_ENDING;
}
