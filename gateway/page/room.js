// A call in a LiveKit room, with LiveKit's own client, which `make page` has brought.

import './bundle/livekit-client.js'
import { AWAY, LOST, ofClosing, STALE, Trouble } from './trouble.js'

const { ConnectionErrorReason, ConnectionState, Room: Client, RoomEvent, Track } = globalThis.LivekitClient
const CHAT = 'lk.chat'
const STATE = 'lk.agent.state'

export class Room {
  #client = new Client({ disconnectOnPageLeave: true, stopLocalTrackOnUnpublish: false })
  #microphone = null // its publication
  #track = null
  #over = false
  #attended = new Promise((resolve) => {
    const look = () => [...this.#client.remoteParticipants.values()].some((one) => one.attributes[STATE]) && resolve()
    this.#client.on(RoomEvent.ParticipantConnected, look)
    this.#client.on(RoomEvent.ParticipantAttributesChanged, look)
    this.#client.on(RoomEvent.Connected, look)
  })

  // attach(MediaStream), over(words). Without a stream the caller types. Throws Trouble.
  static async open({ url, token }, stream, { attach, over }) {
    const made = new Room()
    const client = made.#client
    made.end = (words) => {
      if (made.#over) return
      made.#over = true
      made.#track?.stop()
      client.disconnect()
      over(words)
    }
    client.on(RoomEvent.TrackSubscribed, (track) => {
      if (track.kind !== Track.Kind.Audio) return
      track.attach().muted = true // without an element of its own a remote track gives no sound to the context
      attach(new MediaStream([track.mediaStreamTrack]))
    })
    client.on(RoomEvent.TrackUnsubscribed, (track) => track.detach().forEach((element) => element.remove()))
    client.on(RoomEvent.Disconnected, () => made.end(LOST))
    try {
      await client.connect(url, token)
      if (stream) await made.attach(stream)
    } catch (error) {
      made.#over = true
      client.disconnect()
      throw new Trouble(error.reason === ConnectionErrorReason.NotAllowed ? STALE : AWAY)
    }
    return made
  }

  get isOpen() {
    return this.#client.state === ConnectionState.Connected
  }

  async attach(stream) {
    const track = stream.getAudioTracks()[0].clone() // the meter's own copy may be stopped
    this.#track?.stop()
    this.#track = track
    if (this.#microphone) return this.#microphone.track.replaceTrack(track, true)
    this.#microphone = await this.#client.localParticipant.publishTrack(track, { source: Track.Source.Microphone })
  }

  mute(muted) {
    return muted ? this.#microphone?.mute() : this.#microphone?.unmute()
  }

  // What is sent before the agent listens is lost: its state tells when it does.
  async type(text) {
    await this.#attended
    await this.#client.localParticipant.sendText(text, { topic: CHAT })
  }

  hangUp() {
    this.end(ofClosing('hangup'))
  }
}
