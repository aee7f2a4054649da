// Post each full frame to the page: {frame: ArrayBuffer of Int16, level: RMS, 0 to 1}.

export function send(port, framer, block) {
  for (const frame of framer.push(block)) {
    let sum = 0
    for (const value of frame) sum += value * value
    port.postMessage({ frame: frame.buffer, level: Math.sqrt(sum / frame.length) / 32768 }, [frame.buffer])
  }
}
