// The agent's line: frames that wait, played back to back; a clear finishes the frame that sounds. Pure.

const MOST = 30 * 50 // frames; far above the 100 ms that are sent ahead: a page in the background stays bounded

export class Player {
  #waiting = []
  #at = 0 // samples played of the first frame

  // frame: Int16Array
  push(frame) {
    if (this.#waiting.length < MOST) this.#waiting.push(frame)
  }

  clear() {
    this.#waiting.length = Math.min(this.#waiting.length, this.#at > 0 ? 1 : 0)
  }

  // Fill a Float32Array with what comes next, silence where nothing does.
  pull(block) {
    let filled = 0
    while (filled < block.length && this.#waiting.length) {
      const frame = this.#waiting[0]
      const take = Math.min(block.length - filled, frame.length - this.#at)
      for (let index = 0; index < take; index++) block[filled + index] = frame[this.#at + index] / 32768
      filled += take
      this.#at += take
      if (this.#at === frame.length) {
        this.#waiting.shift()
        this.#at = 0
      }
    }
    block.fill(0, filled)
    return filled > 0
  }
}
