// The vectors of a bundle, all of which a search scores: transforms/index/products.py.

const BITS = 20;

export class Dense {
  constructor(bundle) {
    const { about, arrays } = bundle;
    this.dim = about.model.dim;
    this.codes = arrays.vectors;
    this.scales = arrays.scales;
    this.count = about.passages;
    this.lengths = new Float32Array(this.count);
    for (let row = 0; row < this.count; row += 1) this.lengths[row] = Math.sqrt(this.product(row, null));
  }

  product(row, vector) {
    const start = row * this.dim;
    const scale = this.scales ? this.scales[row] : 1;
    let sum = 0;
    for (let place = 0; place < this.dim; place += 1) {
      const code = this.codes[start + place];
      sum += code * (vector ? vector[place] : code);
    }
    return vector ? scale * sum : scale * scale * sum;
  }

  /** Return the inner products of all rows with a vector, or the cosines, rounded to 20 bits. */
  scores(vector, cosines) {
    const length = Math.hypot(...vector);
    const found = new Float32Array(this.count);
    for (let row = 0; row < this.count; row += 1) {
      const both = Math.fround(this.lengths[row] * length);
      const product = this.product(row, vector);
      found[row] = cosines ? rounded(product / Math.max(both, 1e-37), 1) : rounded(product, both);
    }
    return found;
  }
}

function rounded(score, scale) {
  const exponent = scale > 0 ? Math.floor(Math.log2(scale * 1.5)) : -200;
  const unit = 2 ** Math.max(exponent - BITS, -100);
  return Math.round(score / unit) * unit;
}

/** Return numbers in float16 as others. */
export function widened(halves) {
  const every = Float32Array.from({ length: 65_536 }, (_, bits) => {
    const sign = bits >> 15 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
  return Float32Array.from(halves, bits => every[bits]);
}
