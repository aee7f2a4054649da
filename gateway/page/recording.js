// The recording of a call, kept in the page: a stereo WAV, the caller left, the agent right. Pure.

import { Resampler } from './resample.js'

export const HZ = 24000
const MAX_S = 20 * 60 // 115 MB as WAV

export class Recording {
  #sides = [[], []] // Int16Array frames of caller and agent at HZ
  #lengths = [0, 0]
  #resampler = new Resampler(16000, HZ)

  // frame: Int16Array at 16 kHz
  caller(frame) {
    const samples = this.#resampler.push(Float32Array.from(frame, (value) => value / 32768))
    this.#append(0, Int16Array.from(samples, (value) => Math.round(Math.max(-1, Math.min(1, value)) * 32767)))
  }

  // frame: Int16Array at HZ
  agent(frame) {
    this.#append(1, frame)
  }

  get seconds() {
    return Math.max(...this.#lengths) / HZ
  }

  // Return an ArrayBuffer: a WAV file, 16-bit.
  wav() {
    const length = Math.max(...this.#lengths)
    const data = new DataView(new ArrayBuffer(44 + length * 4))
    const write = (at, name) => [...name].forEach((letter, index) => data.setUint8(at + index, letter.charCodeAt(0)))
    write(0, 'RIFF'); data.setUint32(4, 36 + length * 4, true); write(8, 'WAVEfmt ')
    data.setUint32(16, 16, true); data.setUint16(20, 1, true); data.setUint16(22, 2, true)
    data.setUint32(24, HZ, true); data.setUint32(28, HZ * 4, true); data.setUint16(32, 4, true)
    data.setUint16(34, 16, true); write(36, 'data'); data.setUint32(40, length * 4, true)
    this.#sides.forEach((frames, side) => {
      let at = 44 + side * 2
      for (const frame of frames) for (const value of frame) { data.setInt16(at, value, true); at += 4 }
    })
    return data.buffer
  }

  #append(side, frame) {
    if (this.#lengths[side] > MAX_S * HZ) return
    this.#sides[side].push(frame)
    this.#lengths[side] += frame.length
  }
}
