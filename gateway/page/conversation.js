// The transcript of a call, folded from the messages of its event stream. Pure.

const STAGES = { stt: 'Speech recognition', llm: 'The language model', tts: 'The voice' }

export class Conversation {
  items = [] // {key, who, ...}: caller {text, typed, utterance}, agent {turn, answers, sentences, heard, cut, waterfall}
  interim = ''
  state = 'listening'
  held = false // the agent is silent because the caller began to speak
  cuts = 0 // turns that the caller interrupted
  problem = ''
  closed = null // the reason of `session_closed`

  #turns = new Map() // by number; an event or a waterfall may arrive before `turn_started`

  // message: {fact, state, waterfall?}
  apply({ fact: event, state, waterfall }) {
    this.state = state
    if (waterfall) this.#turn(waterfall.turn).waterfall = waterfall
    const [stage, name] = event.event.split('.')
    switch (name) {
      case 'transcript_interim':
        this.interim = event.text
        break
      case 'transcript_final':
        this.interim = ''
        if (event.text) this.#addCaller({ key: `u${event.utterance}`, who: 'caller', text: event.text, utterance: event.utterance })
        break
      case 'text_received':
        this.#addCaller({ key: `t${event.number}`, who: 'caller', text: event.text, typed: true })
        break
      case 'turn_started':
        this.#turn(event.turn).answers = event.answers
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
  }

  #isPlaying(turn) {
    return turn > 0 && this.#turn(turn).playing === true
  }

  #turn(number) {
    if (!this.#turns.has(number)) {
      this.#turns.set(number, { key: `a${number}`, who: 'agent', turn: number, answers: -1, sentences: [], heard: null, cut: false, shown: false })
    }
    return this.#turns.get(number)
  }

  // Only the events of one stage arrive in order, so an answer may arrive before the words that it answers.
  #addCaller(item) {
    if (this.items.some((known) => known.key === item.key)) return
    const after = this.items.findIndex((known) => known.who === 'agent' && item.utterance !== undefined && known.answers >= item.utterance)
    this.items.splice(after < 0 ? this.items.length : after, 0, item)
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
