// Frames of the agent at the context's rate -> the speaker; tells what was played, silence included, and how loud.

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

  // An input, where there is one, is played instead: the agent's track in a room.
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
