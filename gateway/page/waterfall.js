// The latency of an answer: the gateway's marks -> the bars of a picture, in words for the caller. Pure.

export const SCALE_MS = 1000 // the width of the picture; a slower answer gets its own scale

const CONNECTED = 'call connected'

// By the mark that ends a step.
const STEPS = {
  'turn started': { kind: 'pause', label: 'Preparing the call' },
  'transcript final': { kind: 'transcript', label: 'Recognizing your words' },
  'end of turn': { kind: 'pause', label: 'Making sure you had finished' },
  'LLM first token': { kind: 'model', label: 'Thinking of the answer' },
  'TTS first audio': { kind: 'voice', label: 'Making the voice' },
  'first audio out': { kind: 'out', label: 'Starting the sound' },
}

// By the first mark.
const STARTS = {
  'end of speech': 'you stopped speaking',
  'text received': 'your text arrived',
  'turn started': 'the agent decided to speak',
  [CONNECTED]: 'the call was connected',
}

// {marks: [{name, at}], total_ms} -> {title, from, total, steps: [{name, kind, ms, left, width}]}; left and width in percent.
export function bars({ marks, total_ms: total }) {
  const scale = Math.max(SCALE_MS, marks.at(-1).at)
  const steps = marks.slice(1).map((mark, index) => {
    const start = marks[index].at
    const ms = mark.at - start
    const { kind, label } = STEPS[mark.name] ?? { kind: 'other', label: mark.name }
    return { name: label, kind, ms, left: (start / scale) * 100, width: (ms / scale) * 100 }
  })
  const title = marks[0].name === CONNECTED ? 'Greeted in' : 'Answered in'
  return { title, from: STARTS[marks[0].name] ?? marks[0].name, total, steps }
}

// The gateway counts a greeting from the start of its turn. The caller has waited since the call was connected.
export function sinceConnected({ marks, total_ms: total }, waited_ms) {
  const later = marks.map(({ name, at }) => ({ name, at: at + waited_ms }))
  return { marks: [{ name: CONNECTED, at: 0 }, ...later], total_ms: total === null ? null : total + waited_ms }
}

// Describe the bars for a screen reader.
export function inWords({ title, from, total, steps }) {
  const parts = steps.filter((step) => step.ms > 0).map((step) => `${step.name.toLowerCase()} ${step.ms}`)
  return `${title} ${total} milliseconds, counted from when ${from}: ${parts.join(', ')}`
}
