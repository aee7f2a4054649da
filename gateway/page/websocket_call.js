// A call over the gateway's websocket, whose messages docs/websocket.md describes.

import { HUNG_UP, LOST } from './errors.js'

const MAX_BUFFERED = 640 * 50 * 5 // bytes: a socket that holds back five seconds of speech has lost its connection
const MAX_EARLY = 250 // messages: five seconds of speech

export class WebsocketCall {
  #socket
  #early = [] // messages that wait until the socket is open
  #ended = false

  // onAudio(ArrayBuffer), onClear(), onEnd(message)
  constructor(url, { onAudio, onClear, onEnd }) {
    const address = new URL(url, location.href)
    address.protocol = address.protocol.replace('http', 'ws')
    this.#socket = new WebSocket(address)
    this.#socket.binaryType = 'arraybuffer'
    const end = (message) => {
      if (this.#ended) return
      this.#ended = true
      this.#socket.close()
      onEnd(message)
    }
    this.#socket.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) return onAudio(data)
      const control = JSON.parse(data)
      if (control.type === 'clear') onClear()
      else if (control.type === 'hangup') end(HUNG_UP)
      else if (control.type === 'error' && control.final !== false) end(`The call ended because of an error: ${control.message}.`)
    }
    this.#socket.onopen = () => this.#early.splice(0).forEach((message) => this.#socket.send(message))
    this.#socket.onclose = () => end(LOST)
    this.end = end
  }

  get isOpen() {
    return this.#socket.readyState === WebSocket.OPEN
  }

  // frame: Int16Array, 20 ms at 16 kHz
  sendAudio(frame) {
    if (this.#socket.bufferedAmount > MAX_BUFFERED) this.end(LOST)
    else this.#send(frame)
  }

  sendText(text) {
    this.#send(JSON.stringify({ type: 'text', text }))
  }

  #send(message) {
    if (this.isOpen) this.#socket.send(message)
    else if (this.#early.length < MAX_EARLY) this.#early.push(message)
  }

  hangUp() {
    if (this.isOpen) this.#socket.send('{"type":"hangup"}')
    this.end(HUNG_UP)
  }
}
