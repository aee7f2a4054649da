// The last seconds of both lines, drawn like a score: the caller above, the agent below, holds and cuts between them.

const SHOWN_MS = 20000
const BAR_MS = 80 // one stroke
const CALM_MS = 400 // between two drawings, where motion is not wanted
const QUIET = 0.002 // below, a line is silent

export class Score {
  #bars = { caller: [], agent: [] } // {at, level}
  #marks = [] // {kind: 'hold'|'cut', from, to}
  #calm = matchMedia('(prefers-reduced-motion: reduce)')
  #drawn = 0
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
      if (now - this.#drawn >= (this.#calm.matches ? CALM_MS : 0)) this.#draw(now)
      if (this.#running) requestAnimationFrame(tick)
    }
    requestAnimationFrame(tick)
  }

  stop() {
    this.#running = false
  }

  // 20 ms of one side
  hear(who, level) {
    const now = performance.now()
    const bars = this.#bars[who]
    const last = bars.at(-1)
    const at = Math.floor(now / BAR_MS) * BAR_MS
    if (last?.at === at) last.level = Math.max(last.level, level)
    else bars.push({ at, level })
    while (bars[0].at < now - SHOWN_MS - BAR_MS) bars.shift()
  }

  // The agent fell silent because the caller began to speak, and what came of it.
  hold() {
    if (!this.#open) this.#marks.push({ kind: 'hold', from: performance.now(), to: null })
  }

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
    this.#drawn = now
    const { canvas, pen } = this
    const style = getComputedStyle(canvas)
    const colour = (name) => style.getPropertyValue(name).trim()
    const dots = devicePixelRatio || 1
    const width = canvas.clientWidth
    const height = canvas.clientHeight
    if (canvas.width !== Math.round(width * dots)) canvas.width = Math.round(width * dots)
    if (canvas.height !== Math.round(height * dots)) canvas.height = Math.round(height * dots)
    pen.setTransform(dots, 0, 0, dots, 0, 0)
    pen.clearRect(0, 0, width, height)
    const x = (at) => width - ((now - at) / SHOWN_MS) * width
    const lane = height / 2
    const middles = { caller: lane * 0.5, agent: lane * 1.5 }

    for (const mark of this.#marks) {
      if (mark.kind !== 'hold') continue
      pen.fillStyle = colour('--hold')
      pen.fillRect(x(mark.from), lane + 6, x(mark.to ?? now) - x(mark.from), lane - 12)
    }
    pen.fillStyle = colour('--rule')
    for (const who of ['caller', 'agent']) pen.fillRect(0, middles[who] - 0.5, width, 1)

    const stroke = Math.max(1.5, (BAR_MS / SHOWN_MS) * width - 1.5)
    for (const who of ['caller', 'agent']) {
      pen.fillStyle = colour(`--${who}`)
      for (const { at, level } of this.#bars[who]) {
        if (level < QUIET) continue
        const tall = Math.max(2, loudness(level) * (lane - 14))
        pen.beginPath()
        pen.roundRect(x(at + BAR_MS), middles[who] - tall / 2, stroke, tall, stroke / 2)
        pen.fill()
      }
    }
    pen.fillStyle = colour('--cut')
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

// An RMS level -> 0..1 as an ear takes it: 54 dB from the quietest stroke to a full one.
export function loudness(level) {
  return Math.min(1, Math.max(0, 1 + Math.log10(Math.max(level, 1e-6)) / 2.7))
}
