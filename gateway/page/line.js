// A call over the gateway's websocket: docs/websocket.md says what travels on it.

import { LOST, ofClosing } from './trouble.js'

const MOST_WAITING = 640 * 50 * 5 // bytes; a socket that does not take five seconds of speech is no line

export class Line {
  #socket
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
    this.#socket.onclose = () => end(LOST)
    this.end = end
  }

  get isOpen() {
    return this.#socket.readyState === WebSocket.OPEN
  }

  // frame: Int16Array, 20 ms at 16 kHz
  speak(frame) {
    if (!this.isOpen) return
    if (this.#socket.bufferedAmount > MOST_WAITING) this.end(LOST)
    else this.#socket.send(frame)
  }

  type(text) {
    const message = JSON.stringify({ type: 'text', text })
    if (this.isOpen) this.#socket.send(message)
    else this.#socket.addEventListener('open', () => this.#socket.send(message), { once: true })
  }

  hangUp() {
    if (this.isOpen) this.#socket.send('{"type":"hangup"}')
    this.end(ofClosing('hangup'))
  }
}
