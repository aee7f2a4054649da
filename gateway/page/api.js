// Requests to the gateway's HTTP interface.

import { CallError, UNREACHABLE } from './errors.js'

const TIMEOUT_MS = 12000 // the gateway itself gives up after 10 s

async function request(path, options = {}) {
  let response
  try {
    response = await fetch(path, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) })
  } catch {
    throw new CallError(UNREACHABLE)
  }
  const body = await response.json().catch(() => ({}))
  if (!response.ok) throw new CallError(body.error ? asSentence(body.error) : UNREACHABLE)
  return body
}

// Return {agents: [id], details: {id: {name, description}}, transports: [name]}.
export const listAgents = () => request('v1/agents')

// Return {session, url, events, hangup}, for a room also {room, token}.
export const openSession = (agent, transport) =>
  request('v1/sessions', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ agent, transport }),
  })

// End a session at once. Without this request a room waits for its caller to come back.
// `keepalive`: the browser sends the request even while it leaves the page.
export const hangUp = (path) => fetch(path, { method: 'DELETE', keepalive: true }).catch(() => {})

// Call `onMessage` for each message of a session, and `onEnd` after the last one. Return a function that stops both.
export function followEvents(path, onMessage, onEnd) {
  const source = new EventSource(path)
  const stop = () => source.close()
  source.onmessage = ({ data }) => onMessage(JSON.parse(data))
  source.addEventListener('over', () => { stop(); onEnd() })
  source.addEventListener('behind', stop)
  source.onerror = () => { if (source.readyState === EventSource.CLOSED) onEnd() }
  return stop
}

function asSentence(text) {
  const capitalised = text.charAt(0).toUpperCase() + text.slice(1)
  return /[.?!]$/.test(capitalised) ? capitalised : `${capitalised}.`
}
