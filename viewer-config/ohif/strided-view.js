// A view of numbers as an array of 1 to 4 dimensions, in place of the one in the library `ndarray` that OHIF reads segmentations with. That
// library builds its classes from text (`new Function`), which would oblige us to allow `eval` to everything that ever gets into the page.
// Its interface, as far as views go, is kept: data, shape, stride, offset, size, order; get, set, index, hi, lo, step, transpose, pick.

window.pacsStridedView = (() => {
  class View {
    constructor(data, shape, stride, offset, dtype) {
      Object.assign(this, { data, shape: [...shape], stride: [...stride], offset: offset | 0, dtype });
      [this.stride0 = 0, this.stride1 = 0, this.stride2 = 0, this.stride3 = 0] = this.stride;
    }

    get dimension() {
      return this.shape.length;
    }

    get size() {
      return this.shape.reduce((product, length) => product * length, 1);
    }

    // Dimensions from the fastest to the slowest.
    get order() {
      return [...this.stride.keys()].sort((a, b) => Math.abs(this.stride[a]) - Math.abs(this.stride[b]));
    }

    index(i, j, k, l) {
      return this.offset + this.stride0 * (i | 0) + this.stride1 * (j | 0) + this.stride2 * (k | 0) + this.stride3 * (l | 0);
    }

    get(i, j, k, l) {
      return this.read(this.index(i, j, k, l));
    }

    // The value is the last argument; written out, for this runs once a pixel.
    set(i, j, k, l, value) {
      switch (this.shape.length) {
        case 0:
          return this.write(this.offset, i);
        case 1:
          return this.write(this.index(i), j);
        case 2:
          return this.write(this.index(i, j), k);
        case 3:
          return this.write(this.index(i, j, k), l);
        default:
          return this.write(this.index(i, j, k, l), value);
      }
    }

    read(index) {
      return this.dtype === 'generic' ? this.data.get(index) : this.data[index];
    }

    write(index, value) {
      return this.dtype === 'generic' ? this.data.set(index, value) : (this.data[index] = value);
    }

    // The part before the given indices; those left out stay.
    hi(...ends) {
      const shape = this.shape.map((length, n) => (ends[n] >= 0 ? ends[n] | 0 : length));
      return new View(this.data, shape, this.stride, this.offset, this.dtype);
    }

    // The part from the given indices on.
    lo(...starts) {
      const from = this.shape.map((_, n) => (starts[n] >= 0 ? starts[n] | 0 : 0));
      const shape = this.shape.map((length, n) => length - from[n]);
      return new View(this.data, shape, this.stride, this.index(...from), this.dtype);
    }

    // Every n-th; backwards where n is negative.
    step(...steps) {
      const by = this.shape.map((_, n) => (typeof steps[n] === 'number' ? steps[n] | 0 : 1));
      const last = this.shape.map((length, n) => (by[n] < 0 ? length - 1 : 0));
      const shape = this.shape.map((length, n) => Math.ceil(length / Math.abs(by[n])));
      const stride = this.stride.map((one, n) => one * by[n]);
      return new View(this.data, shape, stride, this.index(...last), this.dtype);
    }

    transpose(...axes) {
      const from = this.shape.map((_, n) => axes[n] ?? n);
      return new View(this.data, from.map(n => this.shape[n]), from.map(n => this.stride[n]), this.offset, this.dtype);
    }

    // The view with the given indices held fast.
    pick(...indices) {
      const held = this.shape.map((_, n) => indices[n] >= 0);
      const offset = this.index(...this.shape.map((_, n) => (held[n] ? indices[n] : 0)));
      const left = [...this.shape.keys()].filter(n => !held[n]);
      return new View(this.data, left.map(n => this.shape[n]), left.map(n => this.stride[n]), offset, this.dtype);
    }
  }

  // As the library calls it: a maker of views for each kind of data and each number of dimensions (-1: of nothing).
  return (dtype, dimension) => {
    if (dimension > 4) {
      throw new Error(`Expected an array of at most 4 dimensions, found ${dimension}.`);
    }
    return (data, shape = [], stride = [], offset = 0) => new View(data, shape, stride, offset, dtype);
  };
})();
