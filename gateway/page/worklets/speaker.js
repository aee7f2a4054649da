// Plays the agent's frames, at the context's rate. Posts each played frame with its level, silence included.

import { Framer } from '../resample.js'
import { Player } from '../player.js'
import { send } from './send.js'

const FRAME = sampleRate / 50

class Speaker extends AudioWorkletProcessor {
  #player = new Player()
  #framer = new Framer(FRAME)

  constructor() {
    super()
    this.port.onmessage = ({ data }) => {
      if (data.clear) this.#player.clear()
      else this.#player.push(new Int16Array(data.frame))
    }
  }

  // In a room the agent's track is the input, and is played instead of the queue.
  process([input], [output]) {
    const block = output[0]
    if (input.length) block.set(input[0])
    else this.#player.pull(block)
    for (let channel = 1; channel < output.length; channel++) output[channel].set(block)
    send(this.port, this.#framer, block)
    return true
  }
}

registerProcessor('speaker', Speaker)
