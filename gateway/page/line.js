// A call over the gateway's websocket: docs/websocket.md says what travels on it.

import { LOST, ofClosing } from './trouble.js'

const MOST_WAITING = 640 * 50 * 5 // bytes; a socket that does not take five seconds of speech is no line
const MOST_EARLY = 250 // frames: five seconds

export class Line {
  #socket
  #early = [] // what is said while the line is being opened
  #over = false

  // clear(), hear(ArrayBuffer), over(words)
  constructor(url, { hear, clear, over }) {
    const where = new URL(url, location.href)
    where.protocol = where.protocol.replace('http', 'ws')
    this.#socket = new WebSocket(where)
    this.#socket.binaryType = 'arraybuffer'
    const end = (words) => {
      if (this.#over) return
      this.#over = true
      this.#socket.close()
      over(words)
    }
    this.#socket.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) return hear(data)
      const told = JSON.parse(data)
      if (told.type === 'clear') clear()
      else if (told.type === 'hangup') end(ofClosing('hangup'))
      else if (told.type === 'error') end(`The call broke off: ${told.message}.`)
    }
    this.#socket.onopen = () => this.#early.splice(0).forEach((message) => this.#socket.send(message))
    this.#socket.onclose = () => end(LOST)
    this.end = end
  }

  get isOpen() {
    return this.#socket.readyState === WebSocket.OPEN
  }

  // frame: Int16Array, 20 ms at 16 kHz
  speak(frame) {
    if (this.#socket.bufferedAmount > MOST_WAITING) this.end(LOST)
    else this.#send(frame)
  }

  type(text) {
    this.#send(JSON.stringify({ type: 'text', text }))
  }

  #send(message) {
    if (this.isOpen) this.#socket.send(message)
    else if (this.#early.length < MOST_EARLY) this.#early.push(message)
  }

  hangUp() {
    if (this.isOpen) this.#socket.send('{"type":"hangup"}')
    this.end(ofClosing('hangup'))
  }
}
