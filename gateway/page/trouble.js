// What went wrong, in words for the person in front of the page. Pure.

const MICROPHONE = {
  NotAllowedError: 'The microphone is blocked for this page. Allow it beside the address and press the button again, or type.',
  NotFoundError: 'No microphone was found. Plug one in and press the button again, or type.',
  NotReadableError: 'The microphone cannot be used: another program may have it. Close that and press the button again, or type.',
  OverconstrainedError: 'The microphone that was chosen is gone. Choose another under Sound, or type.',
  InsecureContext: 'Browsers give the microphone to pages of https and of this machine only. You can type.',
}

export class Trouble extends Error {}

export function ofMicrophone(error) {
  return MICROPHONE[error.name] ?? `The microphone cannot be used (${error.name}). You can type.`
}

export const AWAY = 'The server cannot be reached. Is it running? Press the button to try again.'
export const STALE = 'This call cannot be entered any more. Press the button to call again.'
export const LOST = 'The connection was lost. Press the button to call again.'

const REASONS = {
  hangup: 'The call has ended.',
  shutdown: 'The call has ended: the service is going down.',
  overloaded: 'The call has ended: the service is too busy. Please try again in a moment.',
  no_worker: 'Nobody is free to take the call. Please try again in a moment.',
  caller_lost: LOST,
}

export function ofClosing(reason) {
  return REASONS[reason] ?? 'The call broke off. Press the button to call again.'
}
