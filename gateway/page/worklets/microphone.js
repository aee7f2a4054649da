// Cuts the microphone's audio into frames of 20 ms at 16 kHz, with their levels. Sends silence without an input.

import { Framer, Resampler } from '../resample.js'
import { send } from './send.js'

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
    send(this.port, this.#framer, this.#resampler.push(block))
    return true
  }
}

registerProcessor('microphone', Microphone)
