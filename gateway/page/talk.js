// The talk page: its buttons, its choices and the call that they control.

import { agentChoices } from './agents.js'
import * as api from './api.js'
import { Call } from './call.js'
import { CallError, HUNG_UP, UNREACHABLE } from './errors.js'
import { devices, microphoneStream } from './sound.js'
import { Timeline } from './timeline.js'
import { byId, View } from './view.js'

const RETRY_MS = 3000 // between two requests to a server that did not answer
const TRANSPORTS = { websocket: 'WebSocket', livekit: 'LiveKit room' }

const view = new View()
const timeline = new Timeline(byId('lanes'))
const choices = { agent: byId('agent'), microphone: byId('microphone'), speaker: byId('speaker'), transport: byId('transport') }
let call = null
let opening = null // the call that is being opened
let cancelled = false // the caller pressed the button again while the call was being opened

// typing: without the microphone. Return the Call, or null if there is none.
async function start({ typing = false } = {}) {
  if (document.body.dataset.busy) return null
  document.body.dataset.busy = 'yes'
  cancelled = false
  view.notice('')
  try {
    const stream = typing ? null : await microphoneStream(choices.microphone.value)
    view.reset(choices.agent.selectedOptions[0].text)
    view.phase('calling')
    view.state('connecting')
    timeline.start()
    byId('save').hidden = true
    setMuted(false)
    opening = new Call(view, timeline, showEnd)
    await opening.open(choices.agent.value, choices.transport.value || 'websocket', stream, choices.speaker.value)
    if (opening.ended) return null // `showEnd` has shown why
    call = opening
    call.mute(byId('mute').getAttribute('aria-pressed') === 'true') // the caller may press it while the call is being opened
    if (cancelled) call.hangUp()
    byId('mute').disabled = typing
    if (typing) view.notice('Your microphone is off: you are typing.')
    await listDevices()
    return call
  } catch (error) {
    if (!(error instanceof CallError)) throw error
    call = null
    timeline.stop()
    view.phase(byId('words').children.length ? 'over' : 'idle')
    view.notice(error.message, 'error')
    return null
  } finally {
    opening = null
    delete document.body.dataset.busy
  }
}

function showEnd(message, recording) {
  call = null
  timeline.stop()
  view.phase('over')
  view.state('over')
  for (const who of ['caller', 'agent']) view.level(who, 0)
  view.notice(message, message === HUNG_UP ? '' : 'error')
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

function agentOption({ id, name, description }) {
  const option = new Option(name, id)
  option.dataset.description = description
  return option
}

function describeAgent() {
  byId('description').textContent = choices.agent.selectedOptions[0].dataset.description
}

async function listAgents() {
  try {
    const listed = await api.listAgents()
    const { agents, transports } = listed
    const wanted = new URLSearchParams(location.search).get('agent')
    choices.agent.replaceChildren(...agentChoices(listed).map(agentOption))
    choices.agent.value = [wanted, 'receptionist', agents[0]].find((agent) => agents.includes(agent))
    choices.agent.disabled = false
    describeAgent()
    choices.transport.replaceChildren(...transports.map((transport) => new Option(TRANSPORTS[transport] ?? transport, transport)))
    byId('transports').hidden = transports.length < 2
    if (byId('notice').textContent === UNREACHABLE) view.notice('')
  } catch (error) {
    view.notice(error.message, 'error')
    setTimeout(listAgents, RETRY_MS)
  }
}

byId('call').addEventListener('click', () => {
  if (call) call.hangUp()
  else if (document.body.dataset.busy) cancelled = true
  else start()
})
byId('mute').addEventListener('click', () => setMuted(byId('mute').getAttribute('aria-pressed') !== 'true'))
byId('type').addEventListener('submit', async (event) => {
  event.preventDefault()
  const text = byId('text').value.trim()
  if (!text) return
  const open = call ?? (await start({ typing: true }))
  if (!open) return
  open.sendText(text)
  byId('text').value = ''
})
choices.agent.addEventListener('change', describeAgent)
choices.microphone.addEventListener('change', async () => {
  try {
    await call?.useMicrophone(choices.microphone.value)
  } catch (error) {
    view.notice(error.message, 'error')
  }
})
choices.speaker.addEventListener('change', () => call?.speaker.use(choices.speaker.value).catch(() => {}))
navigator.mediaDevices?.addEventListener?.('devicechange', listDevices)
addEventListener('pagehide', () => (call ?? opening)?.hangUp())

view.phase('idle')
listAgents()
