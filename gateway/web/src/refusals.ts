// What the server refuses of the page's own requests (files, log, recording, more time), in words for whoever asked. The
// texts are the page's own where it knows the reason, else the server's detail.

export interface Refusal {
  /** The problem's slug; empty where the answer was none of ours. */
  slug: string;
  text: string;
  /** The server asks to be asked again after so long. */
  retryAfterMs: number | null;
}

const TEXTS: Record<string, string> = {
  page_token_invalid: 'This tab is no longer known to the server. Reload it, then try again.',
  forbidden: 'Whoever watches may not do this; an operator may.',
  session_ended: 'The session has ended, and its files are gone.',
  session_unknown: 'The session is not known any more.',
  file_not_found: 'There is no such file.',
  not_a_file: 'That is no plain file.',
  insufficient_storage: 'The session’s disk is full.',
  recording_not_found: 'Nothing of this session was recorded, or it is no longer kept.',
  too_many_transfers: 'Too many files are on their way. Try again in a moment.',
  unavailable: 'The server cannot do this just now. Try again in a moment.',
};

const UNREACHABLE = 'The server did not answer. Try again in a moment.';

/** Whether the same request may do better later. */
export function mayRetryRefusal(slug: string): boolean {
  return slug === '' || slug === 'unavailable' || slug === 'too_many_transfers';
}

export function unreachable(): Refusal {
  return { slug: '', text: UNREACHABLE, retryAfterMs: null };
}

/** Reads a refusal, whatever its body is. */
export function readRefusal(status: number, body: string): Refusal {
  const problem = parse(body);
  const type = typeof problem.type === 'string' ? problem.type : '';
  const slug = type.slice(type.search(/[a-z_]*$/));
  const detail = typeof problem.detail === 'string' ? sentence(problem.detail) : '';
  const seconds = problem.retry_after_secs;
  const retryAfterMs = typeof seconds === 'number' && seconds >= 0 ? seconds * 1000 : null;
  const known = Object.hasOwn(TEXTS, slug) ? TEXTS[slug]! : '';
  return { slug, text: known || detail || (status >= 500 ? TEXTS.unavailable! : `The server refused it (${status}).`), retryAfterMs };
}

function parse(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** The server's details begin in small letters and have no full stop. */
function sentence(detail: string): string {
  const text = detail.trim().slice(0, 300);
  if (text === '') return '';
  return text[0]!.toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
}
