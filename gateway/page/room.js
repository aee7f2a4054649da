// A call in a LiveKit room, over LiveKit's own client, which `make page` installs.

import './bundle/livekit-client.js'
import { CallError, EXPIRED, HUNG_UP, LOST, UNREACHABLE } from './errors.js'

const { ConnectionErrorReason, ConnectionState, LogLevel, Room, RoomEvent, setLogLevel, Track } = globalThis.LivekitClient
setLogLevel(LogLevel.warn) // at info the client logs every step of every connection
const CHAT = 'lk.chat'
const AGENT_STATE = 'lk.agent.state'

export class RoomCall {
  // disconnectOnPageLeave: LiveKit would leave the room before the page hangs up, and the session would wait for the caller.
  #room = new Room({ disconnectOnPageLeave: false, stopLocalTrackOnUnpublish: false })
  #publication = null
  #track = null
  #ended = false
  #agentReady = new Promise((resolve) => {
    const check = () => [...this.#room.remoteParticipants.values()].some((one) => one.attributes[AGENT_STATE]) && resolve()
    this.#room.on(RoomEvent.ParticipantConnected, check)
    this.#room.on(RoomEvent.ParticipantAttributesChanged, check)
    this.#room.on(RoomEvent.Connected, check)
  })

  // onTrack(MediaStream), onEnd(message). Without a microphone stream the caller types. Throws CallError.
  static async open({ url, token }, stream, { onTrack, onEnd }) {
    const call = new RoomCall()
    const room = call.#room
    call.end = (message) => {
      if (call.#ended) return
      call.#ended = true
      call.#track?.stop()
      room.disconnect()
      onEnd(message)
    }
    room.on(RoomEvent.TrackSubscribed, (track) => {
      if (track.kind !== Track.Kind.Audio) return
      track.attach().muted = true // Chromium gives a remote track's audio to a context only if an element plays it
      onTrack(new MediaStream([track.mediaStreamTrack]))
    })
    room.on(RoomEvent.TrackUnsubscribed, (track) => track.detach().forEach((element) => element.remove()))
    room.on(RoomEvent.Disconnected, () => call.end(LOST))
    try {
      await room.connect(url, token)
      if (stream) await call.useMicrophone(stream)
    } catch (error) {
      call.#ended = true
      room.disconnect()
      throw new CallError(error.reason === ConnectionErrorReason.NotAllowed ? EXPIRED : UNREACHABLE)
    }
    return call
  }

  get isOpen() {
    return this.#room.state === ConnectionState.Connected
  }

  async useMicrophone(stream) {
    const track = stream.getAudioTracks()[0].clone() // the original stops when the page changes the microphone
    this.#track?.stop()
    this.#track = track
    if (this.#publication) return this.#publication.track.replaceTrack(track, true)
    this.#publication = await this.#room.localParticipant.publishTrack(track, { source: Track.Source.Microphone })
  }

  mute(muted) {
    return muted ? this.#publication?.mute() : this.#publication?.unmute()
  }

  // A text that is sent before the agent listens is lost. Its state attribute appears when it listens.
  async sendText(text) {
    await this.#agentReady
    await this.#room.localParticipant.sendText(text, { topic: CHAT })
  }

  hangUp() {
    this.end(HUNG_UP)
  }
}
