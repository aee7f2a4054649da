// What was said and heard, kept in the page for whoever wants to save it: WAV, caller left, agent right. Pure.

import { Resampler } from './resample.js'

export const HZ = 24000
const MOST_S = 20 * 60

export class Recording {
  #sides = [[], []] // Int16Array frames of caller and agent at HZ
  #lengths = [0, 0]
  #up = new Resampler(16000, HZ)

  // frame: Int16Array at 16 kHz
  caller(frame) {
    const samples = this.#up.push(Float32Array.from(frame, (value) => value / 32768))
    this.#keep(0, Int16Array.from(samples, (value) => Math.round(Math.max(-1, Math.min(1, value)) * 32767)))
  }

  // frame: Int16Array at HZ
  agent(frame) {
    this.#keep(1, frame)
  }

  get seconds() {
    return Math.max(...this.#lengths) / HZ
  }

  // The bytes of a WAV file.
  wav() {
    const length = Math.max(...this.#lengths)
    const data = new DataView(new ArrayBuffer(44 + length * 4))
    const text = (at, word) => [...word].forEach((letter, index) => data.setUint8(at + index, letter.charCodeAt(0)))
    text(0, 'RIFF'); data.setUint32(4, 36 + length * 4, true); text(8, 'WAVEfmt ')
    data.setUint32(16, 16, true); data.setUint16(20, 1, true); data.setUint16(22, 2, true)
    data.setUint32(24, HZ, true); data.setUint32(28, HZ * 4, true); data.setUint16(32, 4, true)
    data.setUint16(34, 16, true); text(36, 'data'); data.setUint32(40, length * 4, true)
    this.#sides.forEach((frames, side) => {
      let at = 44 + side * 2
      for (const frame of frames) for (const value of frame) { data.setInt16(at, value, true); at += 4 }
    })
    return data.buffer
  }

  #keep(side, frame) {
    if (this.#lengths[side] > MOST_S * HZ) return
    this.#sides[side].push(frame)
    this.#lengths[side] += frame.length
  }
}
