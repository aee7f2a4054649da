// The pure parts of the talk page: node --test tests/page/modules.test.mjs

import assert from 'node:assert/strict'
import { test } from 'node:test'

const page = new URL('../../gateway/page/', import.meta.url)
const { Framer, Resampler } = await import(new URL('resample.js', page))
const { Player } = await import(new URL('player.js', page))
const { Conversation, splitHeard } = await import(new URL('conversation.js', page))
const { bars, inWords, sinceConnected } = await import(new URL('waterfall.js', page))
const { loudness, shownMs } = await import(new URL('timeline.js', page))
const { agentChoices } = await import(new URL('agents.js', page))
const { Recording } = await import(new URL('recording.js', page))
const { microphoneMessage } = await import(new URL('errors.js', page))

const tone = (hz, rate, seconds) => Float32Array.from({ length: rate * seconds }, (_, n) => 0.5 * Math.sin((2 * Math.PI * hz * n) / rate))
const rms = (samples) => Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length)

function resampled(samples, from, to, block = 128) {
  const resampler = new Resampler(from, to)
  const made = []
  for (let at = 0; at < samples.length; at += block) made.push(...resampler.push(samples.subarray(at, at + block)))
  return made
}

for (const rate of [48000, 44100, 16000]) {
  test(`resampling from ${rate} Hz keeps pitch and loudness`, () => {
    const made = resampled(tone(1000, rate, 1), rate, 16000)
    assert.ok(Math.abs(made.length - 16000) < 40)
    const middle = made.slice(2000, 14000)
    assert.ok(Math.abs(rms(middle) / rms(tone(1000, 16000, 1)) - 1) < 0.01)
    const rises = middle.filter((value, index) => index && middle[index - 1] < 0 && value >= 0).length
    assert.ok(Math.abs(rises - 750) <= 1)
  })
}

test('resampling removes frequencies above the band of the lower rate', () => {
  const made = resampled(tone(11000, 48000, 1), 48000, 16000)
  assert.ok(rms(made.slice(2000, 14000)) < 0.003)
})

test('resampling does not depend on the block size', () => {
  const voice = tone(440, 48000, 0.2)
  assert.deepEqual(resampled(voice, 48000, 16000, 128), resampled(voice, 48000, 16000, 1000))
})

test('the framer fills whole frames and clips loud samples', () => {
  const framer = new Framer(4)
  assert.deepEqual(framer.push([0, 1, 2]), [])
  const [first, ...rest] = framer.push([-2, 0.5])
  assert.deepEqual([...first], [0, 32767, 32767, -32767])
  assert.deepEqual(rest, [])
})

test('the player plays frames back to back, and a clear keeps the frame that is being played', () => {
  const player = new Player()
  const block = new Float32Array(3)
  for (const value of [1, 2, 3]) player.push(new Int16Array(4).fill(value * 8192))
  player.pull(block)
  player.clear()
  player.pull(block)
  assert.deepEqual([...block], [0.25, 0, 0])
  player.push(new Int16Array(4).fill(8192))
  player.clear() // none of it was played
  assert.equal(player.pull(block), false)
})

const message = (event, fields, more = {}) => ({ event: { event, ...fields }, state: 'listening', ...more })

test('caller words stand before their answer, even when they arrive after it', () => {
  const conversation = new Conversation()
  conversation.apply(message('llm.turn_started', { turn: 2, answers: 0 }))
  conversation.apply(message('llm.sentence_ready', { turn: 2, segment: 0, text: 'At nine.' }))
  conversation.apply(message('stt.transcript_final', { utterance: 0, text: 'When?' }))
  conversation.apply(message('ingress.text_received', { number: 1, text: 'Thanks' }))
  assert.deepEqual(conversation.items.map((item) => item.key), ['u0', 'a2', 't1'])
})

test('a final transcript replaces the interim one', () => {
  const conversation = new Conversation()
  conversation.apply(message('stt.transcript_interim', { utterance: 0, text: 'When do' }))
  assert.equal(conversation.interim, 'When do')
  conversation.apply(message('stt.transcript_final', { utterance: 0, text: 'When do you open?' }))
  assert.equal(conversation.interim, '')
  assert.equal(conversation.items[0].text, 'When do you open?')
})

test('an interrupted answer is split into heard and unheard text', () => {
  const conversation = new Conversation()
  conversation.apply(message('llm.sentence_ready', { turn: 2, segment: 0, text: 'One two.' }))
  conversation.apply(message('llm.sentence_ready', { turn: 2, segment: 1, text: 'Three.' }))
  conversation.apply(message('egress.playback_started', { turn: 2 }))
  conversation.apply(message('egress.paused', { turn: 2 }))
  assert.equal(conversation.held, true)
  conversation.apply(message('egress.playback_ended', { turn: 2, heard_ms: 400, interrupted: true }))
  conversation.apply(message('llm.turn_ended', { turn: 2, heard: 'One', interrupted: true }))
  assert.equal(conversation.held, false)
  assert.equal(conversation.cuts, 1)
  assert.deepEqual(splitHeard(conversation.items[0]), ['One', 'two. Three.'])
})

test('an answer that the caller did not hear is removed', () => {
  const conversation = new Conversation()
  conversation.apply(message('llm.sentence_ready', { turn: 2, segment: 0, text: 'One.' }))
  conversation.apply(message('llm.turn_ended', { turn: 2, heard: '', interrupted: true }))
  assert.deepEqual(conversation.items, [])
})

test('the steps of a waterfall fill its width', () => {
  const marks = [{ name: 'end of speech', at: 0 }, { name: 'transcript final', at: 300 }, { name: 'first audio out', at: 500 }]
  const falls = bars({ marks, total_ms: 500 })
  assert.deepEqual(falls.steps.map(({ kind, left, width }) => [kind, left, width]), [['transcript', 0, 30], ['out', 30, 20]])
  assert.equal(falls.from, 'you stopped speaking')
  assert.equal(inWords(falls), 'Answered in 500 milliseconds, counted from when you stopped speaking: recognizing your words 300, starting the sound 200')
  const slow = bars({ marks: [marks[0], { name: 'first audio out', at: 4000 }], total_ms: 4000 })
  assert.equal(slow.steps[0].width, 100)
})

test('every step and every start of the gateway has words for the caller', () => {
  const names = ['end of speech', 'transcript final', 'end of turn', 'LLM first token', 'TTS first audio', 'first audio out']
  const shown = bars({ marks: names.map((name, at) => ({ name, at })), total_ms: 5 })
  for (const step of shown.steps) assert.ok(step.kind !== 'other' && !names.includes(step.name), step.name)
  for (const name of ['end of speech', 'text received', 'turn started']) assert.notEqual(bars({ marks: [{ name, at: 0 }], total_ms: 0 }).from, name)
})

test('a greeting is counted from when the call was connected', () => {
  const marks = [{ name: 'turn started', at: 0 }, { name: 'first audio out', at: 60 }]
  const conversation = new Conversation()
  conversation.apply(message('ingress.session_opened', { started_us: 1_000_000, clock_offset_us: { llm: 500_000 } }))
  conversation.apply(message('llm.turn_started', { turn: 1, answers: -1, time: 1_540_000 }))
  conversation.apply(message('llm.sentence_ready', { turn: 1, segment: 0, text: 'Hello.' }))
  conversation.apply(message('egress.playback_started', { turn: 1 }, { waterfall: { turn: 1, marks, total_ms: 60 } }))
  const falls = bars(conversation.items[0].waterfall)
  assert.deepEqual([falls.title, falls.from, falls.total], ['Greeted in', 'the call was connected', 100])
  assert.deepEqual(falls.steps.map((step) => step.ms), [40, 60])
  assert.equal(sinceConnected({ marks, total_ms: null }, 40).total_ms, null)
})

test('the parts of one utterance are one entry', () => {
  const conversation = new Conversation()
  conversation.apply(message('stt.transcript_final', { utterance: 0, part: 1, last: true, text: 'for Tuesday.' }))
  conversation.apply(message('stt.transcript_final', { utterance: 0, part: 0, last: false, text: 'I want to book' }))
  assert.deepEqual(conversation.items.map((item) => item.text), ['I want to book for Tuesday.'])
})

test('a recording is a stereo WAV as long as its longer side', () => {
  const recording = new Recording()
  recording.agent(new Int16Array(480).fill(1000))
  recording.caller(new Int16Array(160).fill(-1000))
  const data = new DataView(recording.wav())
  assert.equal(data.byteLength, 44 + 480 * 4)
  assert.equal(data.getUint16(22, true), 2)
  assert.equal(data.getUint32(24, true), 24000)
  assert.equal(data.getInt16(44 + 2, true), 1000)
  assert.ok(data.getInt16(44 + 4 * 100, true) < -900)
})

test('the timeline shows 20 s, and on a narrow screen as much as its bars leave room for', () => {
  assert.equal(shownMs(1120), 20000)
  assert.equal(shownMs(315), 11200)
})

test('loudness is a scale of 54 dB', () => {
  assert.equal(loudness(1), 1)
  assert.equal(loudness(0), 0)
  assert.ok(Math.abs(loudness(10 ** (-27 / 20)) - 0.5) < 1e-9)
})

test('agents are shown by name, and by id where they have none or share one', () => {
  const details = { a: { name: 'Clinic', description: 'Books.' }, b: { name: 'Clinic' }, c: { name: 'Bank' }, d: { name: '' } }
  const choices = agentChoices({ agents: ['a', 'b', 'c', 'd', 'e'], details })
  assert.deepEqual(choices.map((choice) => choice.name), ['Clinic (a)', 'Clinic (b)', 'Bank', 'd', 'e'])
  assert.deepEqual(choices.map((choice) => choice.description), ['Books.', '', '', '', ''])
  assert.deepEqual(agentChoices({ agents: ['desk'] }), [{ id: 'desk', name: 'desk', description: '' }])
})

test('every microphone error has a message, an unknown one too', () => {
  for (const name of ['NotAllowedError', 'NotFoundError', 'NotReadableError', 'WhateverError']) {
    assert.match(microphoneMessage({ name }), /type/)
  }
})
