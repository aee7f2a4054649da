// The transcript of a call, folded from the messages of its event stream. Pure.

import { sinceConnected } from './waterfall.js'

const GREETING = 1 // the turn of the greeting
const STAGES = { stt: 'Speech recognition', llm: 'The language model', tts: 'The voice' }

export class Conversation {
  items = [] // {key, who, ...}: caller {text, typed, utterance}, agent {turn, answers, sentences, heard, cut, waterfall}
  interim = ''
  state = 'listening'
  held = false // the agent is silent because the caller began to speak
  cuts = 0 // turns that the caller interrupted
  problem = ''
  closed = null // the reason of `session_closed`

  #opened = null // `session_opened`
  #turns = new Map() // by number; an event or a waterfall may arrive before `turn_started`

  // message: {event, state, waterfall?}
  apply({ event, state, waterfall }) {
    this.state = state
    const [stage, name] = event.event.split('.')
    switch (name) {
      case 'transcript_interim':
        this.interim = event.text
        break
      case 'transcript_final':
        this.interim = ''
        if (event.text) this.#addTranscript(event)
        break
      case 'text_received':
        this.#addCaller({ key: `t${event.number}`, who: 'caller', text: event.text, typed: true })
        break
      case 'session_opened':
        this.#opened = event
        break
      case 'turn_started':
        this.#turn(event.turn).answers = event.answers
        if (event.turn === GREETING) this.#turn(event.turn).waited = this.#waited(event)
        break
      case 'sentence_ready':
        if (event.text) this.#addSentence(this.#turn(event.turn), event)
        break
      case 'turn_ended':
        this.#endTurn(this.#turn(event.turn), event)
        break
      case 'paused':
        this.held = this.state === 'speaking' || this.held || this.#isPlaying(event.turn)
        break
      case 'playback_started':
        this.#turn(event.turn).playing = true
        break
      case 'resumed':
        this.held = false
        break
      case 'playback_ended':
        this.held = false
        this.#turn(event.turn).playing = false
        if (event.interrupted && event.heard_ms > 0) this.cuts++
        break
      case 'provider_failed':
        this.problem = `${STAGES[stage]} failed: ${event.message}`
        break
      case 'session_closed':
        this.closed = event.reason
        this.interim = ''
        break
    }
    if (waterfall) this.#addWaterfall(this.#turn(waterfall.turn), waterfall)
  }

  // Return the ms from the start of the call until a turn of llm started, by the clock of ingress.
  #waited({ time }) {
    if (!this.#opened) return null
    const { started_us, clock_offset_us } = this.#opened
    return Math.max(0, Math.round((time - (clock_offset_us?.llm ?? 0) - started_us) / 1000))
  }

  #addWaterfall(turn, waterfall) {
    turn.waterfall = turn.waited === null ? waterfall : sinceConnected(waterfall, turn.waited)
  }

  #isPlaying(turn) {
    return turn > 0 && this.#turn(turn).playing === true
  }

  #turn(number) {
    if (!this.#turns.has(number)) {
      this.#turns.set(number, { key: `a${number}`, who: 'agent', turn: number, answers: -1, sentences: [], waited: null, heard: null, cut: false, shown: false })
    }
    return this.#turns.get(number)
  }

  // Only the events of one stage arrive in order, so an answer may arrive before the words that it answers.
  #addCaller(item) {
    if (this.items.some((known) => known.key === item.key)) return
    const after = this.items.findIndex((known) => known.who === 'agent' && item.utterance !== undefined && known.answers >= item.utterance)
    this.items.splice(after < 0 ? this.items.length : after, 0, item)
  }

  #addTranscript({ utterance, part = 0, text }) {
    const key = `u${utterance}`
    const item = this.items.find((known) => known.key === key) ?? { key, who: 'caller', utterance, parts: [] }
    item.parts[part] = text
    item.text = item.parts.filter(Boolean).join(' ')
    this.#addCaller(item)
  }

  #addSentence(turn, event) {
    turn.sentences[event.segment] = event.text
    this.#show(turn)
  }

  #endTurn(turn, event) {
    turn.heard = event.heard
    turn.cut = event.interrupted
    if (event.heard) this.#show(turn)
    else this.items = this.items.filter((item) => item !== turn)
  }

  #show(turn) {
    if (!turn.shown) this.items.push(turn)
    turn.shown = true
  }
}

// Split an answer into the text that the caller heard and the rest: [heard, rest].
export function splitHeard({ sentences, heard }) {
  const whole = sentences.filter(Boolean).join(' ')
  if (heard === null) return [whole, '']
  return [heard, whole.startsWith(heard) ? whole.slice(heard.length).trim() : '']
}
