// What was said so far, folded from the messages of a session's events. Pure.

export class Conversation {
  items = [] // {key, who, ...}: caller {text, typed, utterance}, agent {turn, answers, sentences, heard, cut, waterfall}
  interim = ''
  state = 'listening'
  held = false // the agent fell silent because the caller began to speak
  cuts = 0 // answers that the caller interrupted
  problem = ''
  closed = null // the reason, once it is over

  #turns = new Map()
  #early = new Map() // waterfalls and cuts that were told before their turn

  // message: {fact, state, waterfall?}
  hear({ fact, state, waterfall }) {
    this.state = state
    if (waterfall) this.#turn(waterfall.turn).waterfall = waterfall
    const [stage, what] = fact.event.split('.')
    switch (what) {
      case 'transcript_interim':
        this.interim = fact.text
        break
      case 'transcript_final':
        this.interim = ''
        if (fact.text) this.#say({ key: `u${fact.utterance}`, who: 'caller', text: fact.text, utterance: fact.utterance })
        break
      case 'text_received':
        this.#say({ key: `t${fact.number}`, who: 'caller', text: fact.text, typed: true })
        break
      case 'turn_started':
        this.#turn(fact.turn).answers = fact.answers
        break
      case 'sentence_ready':
        if (fact.text) this.#speak(this.#turn(fact.turn), fact)
        break
      case 'turn_ended':
        this.#end(this.#turn(fact.turn), fact)
        break
      case 'paused':
        this.held = this.state === 'speaking' || this.held || this.#isPlaying(fact.turn)
        break
      case 'playback_started':
        this.#turn(fact.turn).playing = true
        break
      case 'resumed':
        this.held = false
        break
      case 'playback_ended':
        this.held = false
        this.#turn(fact.turn).playing = false
        if (fact.interrupted && fact.heard_ms > 0) this.cuts++
        break
      case 'provider_failed':
        this.problem = `${{ stt: 'Hearing', llm: 'Thinking', tts: 'Speaking' }[stage]} failed: ${fact.message}`
        break
      case 'session_closed':
        this.closed = fact.reason
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

  // Speakers are heard in their own order only: words that an answer answers stand before it, whoever came first.
  #say(item) {
    if (this.items.some((known) => known.key === item.key)) return
    const after = this.items.findIndex((known) => known.who === 'agent' && item.utterance !== undefined && known.answers >= item.utterance)
    this.items.splice(after < 0 ? this.items.length : after, 0, item)
  }

  #speak(turn, fact) {
    turn.sentences[fact.segment] = fact.text
    this.#show(turn)
  }

  #end(turn, fact) {
    turn.heard = fact.heard
    turn.cut = fact.interrupted
    if (fact.heard) this.#show(turn)
    else this.items = this.items.filter((item) => item !== turn)
  }

  #show(turn) {
    if (!turn.shown) this.items.push(turn)
    turn.shown = true
  }
}

// Of an answer, what was heard and what was not: [heard, rest].
export function spoken({ sentences, heard }) {
  const whole = sentences.filter(Boolean).join(' ')
  if (heard === null) return [whole, '']
  return [heard, whole.startsWith(heard) ? whole.slice(heard.length).trim() : '']
}
