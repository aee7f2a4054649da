// The microphone and the speaker of the browser, as frames of audio with their levels.

import { CallError, microphoneMessage } from './errors.js'

const AGENT_HZ = 24000

// Open the chosen microphone. Return a MediaStream; throw CallError with the remedy.
export async function microphoneStream(device) {
  if (!navigator.mediaDevices?.getUserMedia) throw new CallError(microphoneMessage({ name: 'InsecureContext' }))
  const wanted = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 }
  if (device) wanted.deviceId = { exact: device }
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: wanted })
  } catch (error) {
    throw new CallError(microphoneMessage(error))
  }
}

// Calls onFrame(Int16Array, level) for every 20 ms at 16 kHz. The frames are silent while no stream is attached.
export class Microphone {
  #source = null
  #stream = null

  static async open(onFrame) {
    const context = new AudioContext({ latencyHint: 'interactive' })
    await context.audioWorklet.addModule(new URL('worklets/microphone.js', import.meta.url))
    return new Microphone(context, onFrame)
  }

  constructor(context, onFrame) {
    this.context = context
    this.node = new AudioWorkletNode(context, 'microphone', { numberOfOutputs: 1, channelCount: 1, channelCountMode: 'explicit' })
    this.node.port.onmessage = ({ data }) => onFrame(new Int16Array(data.frame), data.level)
    this.node.connect(context.destination) // its output is silent: a worklet runs only while it is connected
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

// Plays the agent. Calls onFrame(Int16Array, level) for every 20 ms at 24 kHz that were played, silence included.
export class Speaker {
  static async open(onFrame) {
    const context = new AudioContext({ latencyHint: 'interactive', sampleRate: AGENT_HZ })
    await context.audioWorklet.addModule(new URL('worklets/speaker.js', import.meta.url))
    return new Speaker(context, onFrame)
  }

  constructor(context, onFrame) {
    this.context = context
    this.node = new AudioWorkletNode(context, 'speaker', { outputChannelCount: [1] })
    this.node.port.onmessage = ({ data }) => onFrame(new Int16Array(data.frame), data.level)
    this.node.connect(context.destination)
    context.resume()
  }

  play(frame) {
    this.node.port.postMessage({ frame }, [frame])
  }

  clear() {
    this.node.port.postMessage({ clear: true })
  }

  // Play a track of a room instead of frames.
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

// List the devices of a kind, `audioinput` or `audiooutput`: [{id, name}].
// A browser hides the names until the caller has allowed the microphone; devices without a name are left out.
export async function devices(kind) {
  const all = (await navigator.mediaDevices?.enumerateDevices?.()) ?? []
  return all
    .filter((device) => device.kind === kind && device.label && device.deviceId && device.deviceId !== 'default')
    .map((device) => ({ id: device.deviceId, name: device.label }))
}
