// The talk page: a call from the button to the last word.

import * as api from './api.js'
import { Conversation } from './conversation.js'
import { Line } from './line.js'
import { Recording } from './recording.js'
import { Score } from './score.js'
import { devices, Microphone, microphoneStream, Speaker } from './sound.js'
import { AWAY, LOST, ofClosing, Trouble } from './trouble.js'
import { byId, View } from './view.js'

const KNOCK_MS = 3000 // between two looks for a server that was away
const AFTERWARDS_MS = 4000 // the events' last words after the line has ended

const view = new View()
const score = new Score(byId('lanes'))
const choices = { agent: byId('agent'), microphone: byId('microphone'), speaker: byId('speaker'), transport: byId('transport') }
let call = null
let leaving = false // the button was pressed again while the call was being opened

class Call {
  #conversation = new Conversation()
  #recording = new Recording()
  #muted = false
  #over = false
  #hangup = '' // the session's address for that
  #stopEvents = () => {}

  // Throws Trouble. Without a stream the caller types.
  static async open(agent, transport, stream) {
    const made = new Call()
    try {
      await made.#open(agent, transport, stream)
    } catch (error) {
      stream?.getTracks().forEach((track) => track.stop())
      made.#close()
      throw error instanceof Trouble ? error : new Trouble(AWAY)
    }
    return made
  }

  async #open(agent, transport, stream) {
    this.speaker = await Speaker.open((frame, level) => this.#heard(frame, level))
    this.microphone = await Microphone.open((frame, level) => this.#said(frame, level))
    this.microphone.attach(stream)
    if (choices.speaker.value) await this.speaker.use(choices.speaker.value).catch(() => {})
    const session = await api.session(agent, transport)
    this.#hangup = session.hangup
    this.#stopEvents = api.events(session.events, (message) => this.#told(message), () => this.#end(LOST))
    this.line = await connect(session, stream, {
      hear: (frame) => this.speaker.play(frame),
      attach: (track) => this.speaker.attach(track),
      clear: () => this.speaker.clear(),
      over: (words) => this.#end(words),
    })
  }

  type(text) {
    this.line.type(text)
  }

  async use(device) {
    const stream = await microphoneStream(device)
    this.microphone.attach(stream)
    await this.line.attach?.(stream)
  }

  mute(muted) {
    this.#muted = muted
    this.microphone.mute(muted)
    this.line.mute?.(muted)
  }

  get over() {
    return this.#over
  }

  hangUp() {
    api.hangUp(this.#hangup)
    this.line.hangUp()
  }

  #said(frame, level) {
    if (this.#over) return
    this.line?.speak?.(frame)
    this.#recording.caller(frame)
    score.hear('caller', level)
    view.level('caller', this.#muted ? 0 : level)
  }

  #heard(frame, level) {
    if (this.#over) return
    this.#recording.agent(frame)
    score.hear('agent', level)
    view.level('agent', level)
  }

  #told(message) {
    const conversation = this.#conversation
    const { held, cuts } = conversation
    conversation.hear(message)
    if (conversation.held && !held) score.hold()
    if (!conversation.held && held) score.release(conversation.cuts > cuts)
    else if (conversation.cuts > cuts) score.release(true)
    view.conversation(conversation)
    if (conversation.problem) view.notice(conversation.problem, 'trouble')
    if (conversation.closed) {
      this.#stopEvents()
      this.#end(ofClosing(conversation.closed))
    } else if (!this.#over) {
      view.state(conversation.state)
    }
  }

  #end(words) {
    if (this.#over) return
    this.#over = true
    setTimeout(() => this.#stopEvents(), AFTERWARDS_MS)
    this.#close()
    ended(words, this.#recording)
  }

  #close() {
    this.#over = true
    this.line?.end?.('')
    this.microphone?.close()
    this.speaker?.close()
  }
}

async function connect(session, stream, ends) {
  if (!session.room) return new Line(session.url, ends)
  const { Room } = await import('./room.js')
  return Room.open(session, stream, ends)
}

// --- the button, the text box, the choices ---

async function start({ silent = false } = {}) {
  if (document.body.dataset.busy) return null
  document.body.dataset.busy = 'yes'
  leaving = false
  view.notice('')
  try {
    const stream = silent ? null : await microphoneStream(choices.microphone.value)
    const agent = choices.agent.value
    view.reset(agent)
    view.phase('calling')
    view.state('connecting')
    score.start()
    byId('save').hidden = true
    setMuted(false)
    const opened = await Call.open(agent, choices.transport.value || 'websocket', stream)
    if (opened.over) return null // it ended by itself meanwhile, and has said so
    call = opened
    call.mute(byId('mute').getAttribute('aria-pressed') === 'true') // it may have been pressed meanwhile
    if (leaving) call.hangUp()
    byId('mute').disabled = silent
    if (silent) view.notice('Your microphone is off: you are typing.')
    await listDevices()
    return call
  } catch (error) {
    if (!(error instanceof Trouble)) throw error
    call = null
    score.stop()
    view.phase(byId('words').children.length ? 'over' : 'idle')
    view.notice(error.message, 'trouble')
    return null
  } finally {
    delete document.body.dataset.busy
  }
}

function ended(words, recording) {
  call = null
  score.stop()
  view.phase('over')
  view.state('over')
  for (const who of ['caller', 'agent']) view.level(who, 0)
  view.notice(words, words === ofClosing('hangup') ? '' : 'trouble')
  const save = byId('save')
  URL.revokeObjectURL(save.href)
  save.hidden = recording.seconds === 0
  if (!save.hidden) save.href = URL.createObjectURL(new Blob([recording.wav()], { type: 'audio/wav' }))
}

function setMuted(muted) {
  call?.mute(muted)
  byId('mute').setAttribute('aria-pressed', muted)
  byId('mute').textContent = muted ? 'Muted' : 'Mute'
  byId('lane-caller').dataset.muted = muted
}

async function listDevices() {
  for (const [select, kind] of [[choices.microphone, 'audioinput'], [choices.speaker, 'audiooutput']]) {
    const chosen = select.value
    select.replaceChildren(select.options[0], ...(await devices(kind)).map(({ id, name }) => new Option(name, id)))
    select.value = [...select.options].some((option) => option.value === chosen) ? chosen : ''
  }
  choices.speaker.disabled = !('setSinkId' in AudioContext.prototype)
}

async function listAgents() {
  try {
    const { agents, transports } = await api.agents()
    const chosen = new URLSearchParams(location.search).get('agent')
    choices.agent.replaceChildren(...agents.map((agent) => new Option(agent, agent)))
    choices.agent.value = [chosen, 'receptionist', agents[0]].find((agent) => agents.includes(agent))
    choices.agent.disabled = false
    choices.transport.replaceChildren(...transports.map((transport) => new Option(NAMES[transport] ?? transport, transport)))
    byId('transports').hidden = transports.length < 2
    if (byId('notice').textContent === AWAY) view.notice('')
  } catch (error) {
    view.notice(error.message, 'trouble')
    setTimeout(listAgents, KNOCK_MS)
  }
}

const NAMES = { websocket: 'WebSocket', livekit: 'LiveKit room' }

byId('call').addEventListener('click', () => {
  if (call) call.hangUp()
  else if (document.body.dataset.busy) leaving = true
  else start()
})
byId('mute').addEventListener('click', () => setMuted(byId('mute').getAttribute('aria-pressed') !== 'true'))
byId('type').addEventListener('submit', async (event) => {
  event.preventDefault()
  const text = byId('text').value.trim()
  if (!text) return
  const open = call ?? (await start({ silent: true }))
  if (!open) return
  open.type(text)
  byId('text').value = ''
})
choices.microphone.addEventListener('change', async () => {
  try {
    await call?.use(choices.microphone.value)
  } catch (error) {
    view.notice(error.message, 'trouble')
  }
})
choices.speaker.addEventListener('change', () => call?.speaker.use(choices.speaker.value).catch(() => {}))
navigator.mediaDevices?.addEventListener?.('devicechange', listDevices)
addEventListener('pagehide', () => call?.hangUp())

view.phase('idle')
listAgents()
