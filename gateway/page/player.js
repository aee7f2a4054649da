// The queue of the agent's audio: plays frames back to back. Pure.

const MAX_FRAMES = 30 * 50 // 30 s: far above the 100 ms that egress sends ahead, and a bound for a page in the background

export class Player {
  #queue = []
  #position = 0 // samples played of the first frame

  // frame: Int16Array
  push(frame) {
    if (this.#queue.length < MAX_FRAMES) this.#queue.push(frame)
  }

  // Drop every queued frame except the one that is being played.
  clear() {
    this.#queue.length = Math.min(this.#queue.length, this.#position > 0 ? 1 : 0)
  }

  // Fill a Float32Array with the next samples, and with silence behind the last one. Return whether there were any.
  pull(block) {
    let filled = 0
    while (filled < block.length && this.#queue.length) {
      const frame = this.#queue[0]
      const count = Math.min(block.length - filled, frame.length - this.#position)
      for (let index = 0; index < count; index++) block[filled + index] = frame[this.#position + index] / 32768
      filled += count
      this.#position += count
      if (this.#position === frame.length) {
        this.#queue.shift()
        this.#position = 0
      }
    }
    block.fill(0, filled)
    return filled > 0
  }
}
