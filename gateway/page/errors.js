// Error messages for the caller. Pure.

const MICROPHONE = {
  NotAllowedError: 'The microphone is blocked for this page. Allow it beside the address and press the button again, or type.',
  NotFoundError: 'No microphone was found. Plug one in and press the button again, or type.',
  NotReadableError: 'The microphone cannot be used: another program may use it. Close that program and press the button again, or type.',
  OverconstrainedError: 'The chosen microphone is not connected. Choose another under Sound, or type.',
  InsecureContext: 'The browser allows the microphone only on https pages and on this machine. You can type.',
}

// An error whose message the page shows to the caller.
export class CallError extends Error {}

export function microphoneMessage(error) {
  return MICROPHONE[error.name] ?? `The microphone cannot be used (${error.name}). You can type.`
}

export const UNREACHABLE = 'The server cannot be reached. Is it running? Press the button to try again.'
export const EXPIRED = 'This call cannot be entered any more. Press the button to call again.'
export const LOST = 'The connection was lost. Press the button to call again.'
export const HUNG_UP = 'The call has ended.'

// By the reason of `session_closed`.
const CLOSED = {
  hangup: HUNG_UP,
  shutdown: 'The call has ended: the service is shutting down.',
  overloaded: 'The call has ended: the service is too busy. Please try again in a moment.',
  no_worker: 'The service cannot take the call now. Please try again in a moment.',
  caller_lost: LOST,
}

export function closedMessage(reason) {
  return CLOSED[reason] ?? 'The call ended because of an error. Press the button to call again.'
}
