// The gateway's addresses.

import { AWAY, Trouble } from './trouble.js'

const WITHIN_MS = 12000

async function ask(path, options = {}) {
  let answer
  try {
    answer = await fetch(path, { ...options, signal: AbortSignal.timeout(WITHIN_MS) })
  } catch {
    throw new Trouble(AWAY)
  }
  const told = await answer.json().catch(() => ({}))
  if (!answer.ok) throw new Trouble(told.error ? sentence(told.error) : AWAY)
  return told
}

// {agents: [id], transports: [name]}
export const agents = () => ask('v1/agents')

// {session, url, events, hangup}, or of a room {url, token, room, events, hangup}
export const session = (agent, transport) =>
  ask('v1/sessions', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ agent, transport }),
  })

// End a session now: a room would wait for who left it. It is said even while the page is left.
export const hangUp = (path) => fetch(path, { method: 'DELETE', keepalive: true }).catch(() => {})

// Call `hear` for every message of a session until it is over; returns what stops it.
export function events(path, hear, over) {
  const source = new EventSource(path)
  const stop = () => source.close()
  source.onmessage = ({ data }) => hear(JSON.parse(data))
  source.addEventListener('over', () => { stop(); over() })
  source.addEventListener('behind', stop)
  source.onerror = () => { if (source.readyState === EventSource.CLOSED) over() }
  return stop
}

function sentence(text) {
  const first = text.charAt(0).toUpperCase() + text.slice(1)
  return /[.?!]$/.test(first) ? first : `${first}.`
}
