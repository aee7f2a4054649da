// One call: connects the microphone, the speaker, the transport and the event stream, and shows what they report.

import * as api from './api.js'
import { Conversation } from './conversation.js'
import { CallError, closedMessage, HUNG_UP, LOST, UNREACHABLE } from './errors.js'
import { Recording } from './recording.js'
import { Microphone, microphoneStream, Speaker } from './sound.js'
import { WebsocketCall } from './websocket_call.js'

const LAST_EVENTS_MS = 4000 // after the audio connection ends, the last events of the session still arrive

export class Call {
  #conversation = new Conversation()
  #recording = new Recording()
  #muted = false
  #ended = false
  #hangupPath = ''
  #stopEvents = () => {}

  // onEnd(message, Recording)
  constructor(view, timeline, onEnd) {
    this.view = view
    this.timeline = timeline
    this.onEnd = onEnd
  }

  // Throws CallError. Without a microphone stream the caller types.
  async open(agent, transport, stream, speakerDevice) {
    try {
      await this.#connect(agent, transport, stream, speakerDevice)
    } catch (error) {
      stream?.getTracks().forEach((track) => track.stop())
      this.#close()
      throw error instanceof CallError ? error : new CallError(UNREACHABLE)
    }
  }

  async #connect(agent, transport, stream, speakerDevice) {
    this.speaker = await Speaker.open((frame, level) => this.#agentAudio(frame, level))
    this.microphone = await Microphone.open((frame, level) => this.#callerAudio(frame, level))
    this.microphone.attach(stream)
    if (speakerDevice) await this.speaker.use(speakerDevice).catch(() => {})
    const session = await api.openSession(agent, transport)
    this.#hangupPath = session.hangup
    this.#stopEvents = api.followEvents(session.events, (message) => this.#apply(message), () => this.#end(LOST))
    this.connection = await connect(session, stream, {
      onAudio: (frame) => this.speaker.play(frame),
      onTrack: (track) => this.speaker.attach(track),
      onClear: () => this.speaker.clear(),
      onEnd: (message) => this.#end(message),
    })
    if (this.#ended) this.connection.end('') // the call ended while the transport was connecting
  }

  sendText(text) {
    this.connection.sendText(text)
  }

  async useMicrophone(device) {
    const stream = await microphoneStream(device)
    this.microphone.attach(stream)
    await this.connection.useMicrophone?.(stream)
  }

  mute(muted) {
    this.#muted = muted
    this.microphone.mute(muted)
    this.connection.mute?.(muted)
  }

  get ended() {
    return this.#ended
  }

  // Also while the call is being opened.
  hangUp() {
    if (this.connection) this.connection.hangUp()
    else this.#end(HUNG_UP)
  }

  #callerAudio(frame, level) {
    if (this.#ended) return
    this.connection?.sendAudio?.(frame)
    this.#recording.caller(frame)
    this.timeline.add('caller', level)
    this.view.level('caller', this.#muted ? 0 : level)
  }

  #agentAudio(frame, level) {
    if (this.#ended) return
    this.#recording.agent(frame)
    this.timeline.add('agent', level)
    this.view.level('agent', level)
  }

  #apply(message) {
    const conversation = this.#conversation
    const { held, cuts } = conversation
    conversation.apply(message)
    if (conversation.held && !held) this.timeline.hold()
    if (!conversation.held && held) this.timeline.release(conversation.cuts > cuts)
    else if (conversation.cuts > cuts) this.timeline.release(true)
    this.view.conversation(conversation)
    if (conversation.problem) this.view.notice(conversation.problem, 'error')
    if (conversation.closed) {
      this.#stopEvents()
      this.#end(closedMessage(conversation.closed))
    } else if (!this.#ended) {
      this.view.state(conversation.state)
    }
  }

  #end(message) {
    if (this.#ended) return
    setTimeout(() => this.#stopEvents(), LAST_EVENTS_MS)
    this.#close()
    this.onEnd(message, this.#recording)
  }

  // The page never returns to a session, so it hangs up whatever ended the call. When the browser leaves the page, the
  // first sign may be the lost event stream: Chromium closes that before `pagehide`.
  #close() {
    if (this.#ended) return
    this.#ended = true
    if (this.#hangupPath && !this.#conversation.closed) api.hangUp(this.#hangupPath)
    this.connection?.end?.('')
    this.microphone?.close()
    this.speaker?.close()
  }
}

async function connect(session, stream, handlers) {
  if (!session.room) return new WebsocketCall(session.url, handlers)
  const { RoomCall } = await import('./room.js')
  return RoomCall.open(session, stream, handlers)
}
