// The latency of an answer: the gateway's marks -> the bars of a picture. Pure.

export const SCALE_MS = 1000 // the width of the picture; a slower answer gets its own scale

export const STEPS = {
  'transcript final': 'transcript',
  'end of turn': 'pause',
  'LLM first token': 'model',
  'TTS first audio': 'voice',
  'first audio out': 'out',
}

// {marks: [{name, at}], total_ms} -> {from, total, steps: [{name, kind, ms, left, width}]}; left and width in percent.
export function bars({ marks, total_ms: total }) {
  const scale = Math.max(SCALE_MS, marks.at(-1).at)
  const steps = marks.slice(1).map((mark, index) => {
    const start = marks[index].at
    const ms = mark.at - start
    return { name: mark.name, kind: STEPS[mark.name] ?? 'other', ms, left: (start / scale) * 100, width: (ms / scale) * 100 }
  })
  return { from: marks[0].name, total, steps }
}

// Describe the bars for a screen reader.
export function inWords({ from, total, steps }) {
  const parts = steps.filter((step) => step.ms > 0).map((step) => `${step.name} ${step.ms}`)
  return `${total} milliseconds after ${from}: ${parts.join(', ')}`
}
