// The fusion of two scores into one: transforms/search/fusion.py in JavaScript.

const DEFAULT_WEIGHT = 0.6;

/** Return the weighted sum of the cosine and of BM25, which is divided by the question's best. */
export function fuse(cosine, bm25, best, weight) {
  const share = weight ?? DEFAULT_WEIGHT;
  return Math.fround(share * cosine + (1 - share) * (best > 0 ? bm25 / best : 0));
}
