// Converts audio from one sample rate to another, block by block, with a windowed sinc. Pure.

const CROSSINGS = 8 // zero crossings on each side of the kernel: 60 dB of stopband
const STEPS = 256 // kernel values between two crossings; the nearest is taken
const PASS = 0.92 // the pass band, as a share of the lower rate's band; the filter falls off in the rest

function kernel() {
  const table = new Float32Array(CROSSINGS * STEPS + 1)
  for (let index = 0; index < table.length; index++) {
    const x = index / STEPS
    const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x)
    table[index] = sinc * (0.5 + 0.5 * Math.cos((Math.PI * x) / CROSSINGS))
  }
  return table
}

export class Resampler {
  #kernel = kernel()
  #input = new Float32Array(0) // samples that later output still needs
  #next = 0 // position of the next output sample in #input

  constructor(from, to) {
    this.step = from / to
    this.cutoff = PASS * Math.min(1, to / from) // zero crossings of the kernel per input sample
    this.reach = Math.ceil(CROSSINGS / this.cutoff)
    this.#input = new Float32Array(this.reach) // silence before the beginning
    this.#next = this.reach
  }

  // Take a Float32Array at the first rate, return one at the second; the end of a block comes out with the next block.
  push(block) {
    const input = new Float32Array(this.#input.length + block.length)
    input.set(this.#input)
    input.set(block, this.#input.length)
    const output = []
    while (this.#next + this.reach < input.length) {
      output.push(this.#sample(input))
      this.#next += this.step
    }
    const used = Math.max(0, Math.floor(this.#next) - this.reach)
    this.#input = input.slice(used)
    this.#next -= used
    return Float32Array.from(output)
  }

  #sample(input) {
    const middle = Math.floor(this.#next)
    let sum = 0
    for (let index = middle - this.reach + 1; index <= middle + this.reach; index++) {
      const place = Math.round(Math.abs(index - this.#next) * this.cutoff * STEPS)
      if (place < this.#kernel.length) sum += input[index] * this.#kernel[place]
    }
    return sum * this.cutoff
  }
}

// Converts floats to 16-bit samples and gathers them into frames of `size` samples.
export class Framer {
  #frame
  #filled = 0

  constructor(size) {
    this.size = size
    this.#frame = new Int16Array(size)
  }

  push(block) {
    const frames = []
    for (const value of block) {
      this.#frame[this.#filled++] = Math.round(Math.max(-1, Math.min(1, value)) * 32767)
      if (this.#filled === this.size) {
        frames.push(this.#frame)
        this.#frame = new Int16Array(this.size)
        this.#filled = 0
      }
    }
    return frames
  }
}
