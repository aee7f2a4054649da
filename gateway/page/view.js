// The elements of the page: the transcript, the state, the levels and the notices.

import { splitHeard } from './conversation.js'
import { loudness } from './timeline.js'
import { bars, inWords } from './waterfall.js'

const METER_EVERY_MS = 100
const STATES = { listening: 'Listening', thinking: 'Thinking', speaking: 'Speaking', connecting: 'Connecting', over: 'Call ended' }

export const byId = (id) => document.getElementById(id)

function element(name, className, text) {
  const created = document.createElement(name)
  if (className) created.className = className
  if (text !== undefined) created.textContent = text
  return created
}

export class View {
  #shown = new Map() // item key -> {element, body, text, and what they show}
  #meteredAt = { caller: 0, agent: 0 }

  constructor() {
    this.words = byId('words')
    this.interim = byId('interim')
  }

  reset(agent) {
    this.words.replaceChildren()
    this.#shown.clear()
    this.agent = agent
    byId('lane-agent').textContent = agent
    this.conversation({ items: [], interim: '' })
  }

  // phase: 'idle', 'calling' or 'over'
  phase(phase) {
    document.body.dataset.phase = phase
    byId('opening').hidden = phase !== 'idle'
    byId('timeline').hidden = phase === 'idle'
    byId('mute').hidden = phase !== 'calling'
    byId('call-word').textContent = { idle: 'Start talking', calling: 'Hang up', over: 'Call again' }[phase]
  }

  state(state) {
    byId('state').dataset.state = state
    byId('state-word').textContent = STATES[state]
  }

  // kind: '' or 'error'
  notice(message, kind = '') {
    const notice = byId('notice')
    notice.textContent = message
    notice.dataset.kind = kind
  }

  level(who, level) {
    const meter = byId(`meter-${who}`)
    const now = performance.now()
    meter.style.setProperty('--level', loudness(level).toFixed(3))
    if (now - this.#meteredAt[who] < METER_EVERY_MS) return
    this.#meteredAt[who] = now
    meter.setAttribute('aria-valuenow', Math.round(loudness(level) * 100))
  }

  conversation({ items, interim }) {
    const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 120
    const keys = new Set(items.map((item) => item.key))
    for (const [key, shown] of this.#shown) {
      if (keys.has(key)) continue
      shown.element.remove()
      this.#shown.delete(key)
    }
    items.forEach((item, index) => {
      const shown = this.#shown.get(item.key) ?? this.#make(item)
      if (this.words.children[index] !== shown.element) this.words.insertBefore(shown.element, this.words.children[index] ?? null)
      if (item.who === 'agent') this.#fill(shown, item)
      else if (shown.text.textContent !== item.text) shown.text.textContent = item.text
    })
    this.interim.textContent = interim
    this.interim.hidden = !interim
    if (atEnd) scrollTo({ top: document.documentElement.scrollHeight })
  }

  #make(item) {
    const line = element('li', `line ${item.who}`)
    line.append(element('span', 'by', item.who === 'caller' ? (item.typed ? 'You, typed' : 'You') : this.agent))
    const text = element('p', 'said')
    const body = element('div')
    body.append(text)
    line.append(body)
    const shown = { element: line, body, text, final: '', sentences: 0, latency: '', details: null }
    this.#shown.set(item.key, shown)
    return shown
  }

  #fill(shown, item) {
    const [heard, rest] = splitHeard(item)
    if (item.heard === null) {
      item.sentences.slice(shown.sentences).forEach((sentence) => shown.text.append(element('span', 'sentence', `${sentence} `)))
      shown.sentences = item.sentences.length
    } else if (shown.final !== heard + rest + item.cut) {
      shown.final = heard + rest + item.cut
      if (item.cut) {
        shown.text.replaceChildren(element('span', 'sentence', heard))
        const unheard = element('s', 'unheard', rest ? ` ${rest}` : '')
        unheard.setAttribute('aria-hidden', 'true')
        shown.text.append(unheard)
        shown.text.after(element('p', 'cut', 'You interrupted'))
      }
    }
    this.#waterfall(shown, item.waterfall)
  }

  #waterfall(shown, waterfall) {
    if (!waterfall || waterfall.total_ms === null) return
    const latency = bars(waterfall)
    const words = inWords(latency)
    if (shown.latency === words) return // a later event may still move a mark
    shown.latency = words
    const details = element('details', 'falls')
    details.open = shown.details?.open ?? false
    const summary = element('summary')
    summary.setAttribute('aria-label', words)
    const track = element('span', 'track')
    track.setAttribute('aria-hidden', 'true')
    for (const step of latency.steps) {
      const bar = element('i', step.kind)
      bar.style.left = `${step.left}%`
      bar.style.width = `${step.width}%`
      track.append(bar)
    }
    const figure = element('span', '', `${latency.title} `)
    figure.append(element('b', '', `${latency.total} ms`))
    summary.append(track, figure)
    const list = element('dl')
    for (const step of latency.steps) list.append(element('dt', step.kind, step.name), element('dd', '', `${step.ms} ms`))
    details.append(summary, element('p', 'from', `From when ${latency.from} until the agent spoke:`), list)
    if (shown.details) shown.details.replaceWith(details)
    else shown.body.append(details)
    shown.details = details
  }
}
