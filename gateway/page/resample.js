// Sound at one rate to sound at another, a block at a time, with a windowed sinc. Pure.

const CROSSINGS = 8 // zero crossings on each side of the kernel: 60 dB of stopband
const STEPS = 256 // kernel values between two crossings; the nearest is taken
const PASS = 0.92 // of the lower rate's band: the rest is the filter's slope

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
  #kept = new Float32Array(0) // input that later output still needs
  #at = 0 // of the next output sample, in samples of #kept

  constructor(from, to) {
    this.step = from / to
    this.cutoff = PASS * Math.min(1, to / from) // crossings of the kernel in a sample of input
    this.reach = Math.ceil(CROSSINGS / this.cutoff)
    this.#kept = new Float32Array(this.reach) // silence before the beginning
    this.#at = this.reach
  }

  // Float32Array at the first rate -> Float32Array at the second; what is missing comes with the next block.
  push(block) {
    const input = new Float32Array(this.#kept.length + block.length)
    input.set(this.#kept)
    input.set(block, this.#kept.length)
    const made = []
    while (this.#at + this.reach < input.length) {
      made.push(this.#sample(input))
      this.#at += this.step
    }
    const spent = Math.max(0, Math.floor(this.#at) - this.reach)
    this.#kept = input.slice(spent)
    this.#at -= spent
    return Float32Array.from(made)
  }

  #sample(input) {
    const middle = Math.floor(this.#at)
    let sum = 0
    for (let index = middle - this.reach + 1; index <= middle + this.reach; index++) {
      const place = Math.round(Math.abs(index - this.#at) * this.cutoff * STEPS)
      if (place < this.#kernel.length) sum += input[index] * this.#kernel[place]
    }
    return sum * this.cutoff
  }
}

// Floats -> 16-bit samples, gathered into frames of `size`.
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
