// The microphone -> frames of 20 ms at 16 kHz, and how loud each is. Without an input it sends silence.

import { Framer, Resampler } from '../resample.js'

const HZ = 16000
const FRAME = HZ / 50

class Microphone extends AudioWorkletProcessor {
  #resampler = new Resampler(sampleRate, HZ)
  #framer = new Framer(FRAME)
  #muted = false
  #silence = new Float32Array(128)

  constructor() {
    super()
    this.port.onmessage = ({ data }) => { this.#muted = data.muted }
  }

  process([input]) {
    const block = input[0] && !this.#muted ? input[0] : this.#silence
    for (const frame of this.#framer.push(this.#resampler.push(block))) {
      let sum = 0
      for (const value of frame) sum += value * value
      const level = Math.sqrt(sum / FRAME) / 32768
      this.port.postMessage({ frame: frame.buffer, level }, [frame.buffer])
    }
    return true
  }
}

registerProcessor('microphone', Microphone)
