// Draws the last 20 s of the call, fewer on a narrow screen: the caller's audio above, the agent's below, holds and interruptions between them.

const SHOWN_MS = 20000 // at most
const BAR_MS = 80 // the audio that one bar stands for
const BAR_PX = 2.25 // from one bar to the next, at least: closer bars merge into a block
const GAP_PX = 0.75
const REDUCED_MOTION_MS = 400 // between two drawings, where the browser asks for reduced motion
const SILENCE = 0.002 // RMS; quieter audio is not drawn

export class Timeline {
  #bars = { caller: [], agent: [] } // {at, level}
  #marks = [] // {kind: 'hold'|'cut', from, to}
  #reducedMotion = matchMedia('(prefers-reduced-motion: reduce)')
  #drawnAt = 0
  #running = false

  constructor(canvas) {
    this.canvas = canvas
    this.pen = canvas.getContext('2d')
  }

  start() {
    this.#bars = { caller: [], agent: [] }
    this.#marks = []
    if (this.#running) return
    this.#running = true
    const tick = (now) => {
      if (now - this.#drawnAt >= (this.#reducedMotion.matches ? REDUCED_MOTION_MS : 0)) this.#draw(now)
      if (this.#running) requestAnimationFrame(tick)
    }
    requestAnimationFrame(tick)
  }

  stop() {
    this.#running = false
  }

  // Add 20 ms of audio. who: 'caller' or 'agent'
  add(who, level) {
    const now = performance.now()
    const bars = this.#bars[who]
    const last = bars.at(-1)
    const at = Math.floor(now / BAR_MS) * BAR_MS
    if (last?.at === at) last.level = Math.max(last.level, level)
    else bars.push({ at, level })
    while (bars[0].at < now - SHOWN_MS - BAR_MS) bars.shift()
  }

  // A hold begins: the agent is silent because the caller began to speak.
  hold() {
    if (!this.#open) this.#marks.push({ kind: 'hold', from: performance.now(), to: null })
  }

  // The hold ends. cut: the caller interrupted the agent.
  release(cut) {
    const now = performance.now()
    if (this.#open) this.#open.to = now
    if (cut) this.#marks.push({ kind: 'cut', from: now, to: now })
    this.#marks = this.#marks.filter((mark) => (mark.to ?? now) > now - SHOWN_MS)
  }

  get #open() {
    return this.#marks.find((mark) => mark.kind === 'hold' && mark.to === null)
  }

  #draw(now) {
    this.#drawnAt = now
    const { canvas, pen } = this
    const style = getComputedStyle(canvas)
    const color = (name) => style.getPropertyValue(name).trim()
    const scale = devicePixelRatio || 1
    const width = canvas.clientWidth
    const height = canvas.clientHeight
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale)
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale)
    pen.setTransform(scale, 0, 0, scale, 0, 0)
    pen.clearRect(0, 0, width, height)
    const shown = shownMs(width)
    const x = (at) => width - ((now - at) / shown) * width
    const lane = height / 2
    const middles = { caller: lane * 0.5, agent: lane * 1.5 }

    for (const mark of this.#marks) {
      if (mark.kind !== 'hold') continue
      pen.fillStyle = color('--hold')
      pen.fillRect(x(mark.from), lane + 6, x(mark.to ?? now) - x(mark.from), lane - 12)
    }
    pen.fillStyle = color('--rule')
    for (const who of ['caller', 'agent']) pen.fillRect(0, middles[who] - 0.5, width, 1)

    const barWidth = (BAR_MS / shown) * width - GAP_PX
    for (const who of ['caller', 'agent']) {
      pen.fillStyle = color(`--${who}`)
      for (const { at, level } of this.#bars[who]) {
        if (level < SILENCE) continue
        const barHeight = Math.max(2, loudness(level) * (lane - 14))
        pen.beginPath()
        pen.roundRect(x(at + BAR_MS), middles[who] - barHeight / 2, barWidth, barHeight, barWidth / 2)
        pen.fill()
      }
    }
    pen.fillStyle = color('--cut')
    for (const mark of this.#marks) {
      if (mark.kind !== 'cut') continue
      const at = x(mark.from)
      pen.fillRect(at - 1, lane + 4, 2, lane - 10)
      pen.beginPath()
      pen.moveTo(at - 5, lane - 2)
      pen.lineTo(at + 5, lane - 2)
      pen.lineTo(at, lane + 5)
      pen.fill()
    }
  }
}

// The audio that fits into a width in px, in ms.
export function shownMs(width) {
  return Math.min(SHOWN_MS, (width / BAR_PX) * BAR_MS)
}

// Map an RMS level to 0..1 on a logarithmic scale of 54 dB, as loudness is perceived.
export function loudness(level) {
  return Math.min(1, Math.max(0, 1 + Math.log10(Math.max(level, 1e-6)) / 2.7))
}
