// Where the time of an answer went: marks as the gateway tells them -> the bars of a picture. Pure.

export const SCALE_MS = 1000 // the whole width; a slower answer is drawn to its own scale

export const STEPS = {
  'transcript final': 'transcript',
  'end of turn': 'pause',
  'LLM first token': 'model',
  'TTS first audio': 'voice',
  'first audio out': 'out',
}

// {marks: [{name, at}], total_ms} -> {from, total, steps: [{name, kind, ms, left, width}]}; left and width in percent.
export function bars({ marks, total_ms: total }) {
  const whole = Math.max(SCALE_MS, marks.at(-1).at)
  const steps = marks.slice(1).map((mark, index) => {
    const from = marks[index].at
    const ms = mark.at - from
    return { name: mark.name, kind: STEPS[mark.name] ?? 'other', ms, left: (from / whole) * 100, width: (ms / whole) * 100 }
  })
  return { from: marks[0].name, total, steps }
}

// For who cannot see it.
export function inWords({ from, total, steps }) {
  const parts = steps.filter((step) => step.ms > 0).map((step) => `${step.name} ${step.ms}`)
  return `${total} milliseconds after ${from}: ${parts.join(', ')}`
}
