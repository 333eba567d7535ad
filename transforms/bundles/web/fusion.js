// The fusion of two scores into one: transforms/search/fusion.py and spread.py in JavaScript.

const DEVIATIONS = 10;

/** Return the weighted sum of the standardized cosine and of BM25, which is in units of words. */
export function fuse(cosine, bm25, best, { units, weight }) {
  const vectors = Math.fround((cosine - units.mean) / (DEVIATIONS * units.deviation));
  const words = Math.fround(bm25 / Math.max(best, units.words));
  return Math.fround(weight * vectors + (1 - weight) * words);
}
