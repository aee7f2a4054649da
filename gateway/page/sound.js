// Microphone and speaker: frames out of the one, frames into the other, and how loud both are.

import { ofMicrophone, Trouble } from './trouble.js'

const AGENT_HZ = 24000

// The stream of the chosen microphone. Throws Trouble that says what to do.
export async function microphoneStream(device) {
  if (!navigator.mediaDevices?.getUserMedia) throw new Trouble(ofMicrophone({ name: 'InsecureContext' }))
  const wanted = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 }
  if (device) wanted.deviceId = { exact: device }
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: wanted })
  } catch (error) {
    throw new Trouble(ofMicrophone(error))
  }
}

// Frames of 20 ms at 16 kHz, silence as long as no stream is attached. hear(Int16Array, level)
export class Microphone {
  #source = null
  #stream = null

  static async open(hear) {
    const context = new AudioContext({ latencyHint: 'interactive' })
    await context.audioWorklet.addModule(new URL('worklets/microphone.js', import.meta.url))
    return new Microphone(context, hear)
  }

  constructor(context, hear) {
    this.context = context
    this.node = new AudioWorkletNode(context, 'microphone', { numberOfOutputs: 1, channelCount: 1, channelCountMode: 'explicit' })
    this.node.port.onmessage = ({ data }) => hear(new Int16Array(data.frame), data.level)
    this.node.connect(context.destination) // it gives silence: this only keeps it running
    context.resume()
  }

  attach(stream) {
    this.#source?.disconnect()
    this.#stream?.getTracks().forEach((track) => track.stop())
    this.#stream = stream
    this.#source = stream ? this.context.createMediaStreamSource(stream) : null
    this.#source?.connect(this.node)
  }

  mute(muted) {
    this.node.port.postMessage({ muted })
  }

  close() {
    this.attach(null)
    this.context.close()
  }
}

// What the agent says. heard(Int16Array, level) is told every 20 ms of what was played, silence included.
export class Speaker {
  static async open(heard) {
    const context = new AudioContext({ latencyHint: 'interactive', sampleRate: AGENT_HZ })
    await context.audioWorklet.addModule(new URL('worklets/speaker.js', import.meta.url))
    return new Speaker(context, heard)
  }

  constructor(context, heard) {
    this.context = context
    this.node = new AudioWorkletNode(context, 'speaker', { outputChannelCount: [1] })
    this.node.port.onmessage = ({ data }) => heard(new Int16Array(data.frame), data.level)
    this.node.connect(context.destination)
    context.resume()
  }

  play(frame) {
    this.node.port.postMessage({ frame }, [frame])
  }

  clear() {
    this.node.port.postMessage({ clear: true })
  }

  // A track of a room instead of frames.
  attach(stream) {
    this.context.createMediaStreamSource(stream).connect(this.node)
  }

  async use(device) {
    await this.context.setSinkId?.(device)
  }

  close() {
    this.context.close()
  }
}

// [{id, name}] of a kind, `audioinput` or `audiooutput`; those without a name are not shown to us yet.
export async function devices(kind) {
  const all = (await navigator.mediaDevices?.enumerateDevices?.()) ?? []
  return all
    .filter((device) => device.kind === kind && device.label && device.deviceId && device.deviceId !== 'default')
    .map((device) => ({ id: device.deviceId, name: device.label }))
}
