// Files on their way into the session: one after the other, each whole or not at all. What is there already is replaced
// only where the person says so. It shows nothing.

import { encodePath, type Item } from './dropped';
import { readRefusal, unreachable, type Refusal } from './refusals';

export type Replace = 'replace' | 'replace-all' | 'skip' | 'skip-all' | 'cancel';

export interface Progress {
  /** The one that is sent. */
  path: string;
  /** From 1. */
  number: number;
  count: number;
  bytes: number;
  totalBytes: number;
}

export interface Outcome {
  sent: string[];
  skipped: number;
  failed: { path: string; text: string }[];
  cancelled: boolean;
}

export type Sent = 'sent' | 'cancelled' | Refusal;

export interface UploadDeps {
  /** `.../files/`, to which a path is added. */
  filesUrl: string;
  token: () => string | null;
  /** Whether a file is there already. */
  exists: (url: string, token: string, signal: AbortSignal) => Promise<boolean>;
  send: (url: string, token: string, file: Blob, signal: AbortSignal, progress: (bytes: number) => void) => Promise<Sent>;
  ask: (path: string, several: boolean) => Promise<Replace>;
  progress: (progress: Progress) => void;
  pause: (ms: number) => Promise<void>;
}

/** A server that has no place for another file at the moment is asked this often. */
const ATTEMPTS = 5;
/** After which nothing else can be sent either. */
const FINAL = new Set(['page_token_invalid', 'session_ended', 'session_unknown', 'forbidden', 'insufficient_storage']);

/** Sends all of them. Never throws. */
export async function upload(items: Item[], deps: UploadDeps, signal: AbortSignal): Promise<Outcome> {
  const outcome: Outcome = { sent: [], skipped: 0, failed: [], cancelled: false };
  const totalBytes = items.reduce((sum, { file }) => sum + file.size, 0);
  let before = 0;
  let always: 'replace-all' | 'skip-all' | null = null;
  for (const [index, { path, file }] of items.entries()) {
    const tell = (bytes: number) => deps.progress({ path, number: index + 1, count: items.length, bytes: before + bytes, totalBytes });
    tell(0);
    const url = deps.filesUrl + encodePath(path);
    const token = deps.token() ?? '';
    if (always !== 'replace-all' && (await deps.exists(url, token, signal)) && !signal.aborted) {
      const answer: Replace = always ?? (await deps.ask(path, items.length - index > 1));
      if (answer === 'replace-all' || answer === 'skip-all') always = answer;
      if (answer === 'cancel') return { ...outcome, cancelled: true };
      if (answer === 'skip' || answer === 'skip-all') {
        outcome.skipped += 1;
        before += file.size;
        continue;
      }
    }
    const sent = await sendPatiently(() => deps.send(url, token, file, signal, tell), deps.pause, signal);
    if (sent === 'cancelled' || signal.aborted) return { ...outcome, cancelled: true };
    if (sent === 'sent') outcome.sent.push(path);
    else {
      outcome.failed.push({ path, text: sent.text });
      if (FINAL.has(sent.slug)) return outcome;
    }
    before += file.size;
  }
  return outcome;
}

async function sendPatiently(send: () => Promise<Sent>, pause: (ms: number) => Promise<void>, signal: AbortSignal): Promise<Sent> {
  for (let left = ATTEMPTS - 1; ; left--) {
    const sent = await send();
    const busy = typeof sent === 'object' && sent.slug === 'too_many_transfers';
    if (!busy || left === 0 || signal.aborted) return sent;
    await pause(sent.retryAfterMs ?? 2_000);
  }
}

/** Asks without having it sent. Where nobody answers, sending it will say why. */
export async function fileExists(url: string, token: string, signal: AbortSignal, ask: typeof fetch = fetch): Promise<boolean> {
  try {
    const headers = { Authorization: `Bearer ${token}` };
    const answer = await ask(url, { method: 'HEAD', headers, credentials: 'omit', cache: 'no-store', signal });
    return answer.ok;
  } catch {
    return false;
  }
}

/** Not `fetch`, which tells nobody how much of a body it has sent. */
export function sendFile(url: string, token: string, file: Blob, signal: AbortSignal, progress: (bytes: number) => void): Promise<Sent> {
  return new Promise((done) => {
    const request = new XMLHttpRequest();
    request.open('PUT', url);
    request.setRequestHeader('Authorization', `Bearer ${token}`);
    request.setRequestHeader('Content-Type', 'application/octet-stream');
    request.upload.onprogress = ({ loaded }) => progress(loaded);
    request.onload = () => {
      const ok = request.status >= 200 && request.status < 300;
      done(ok ? 'sent' : readRefusal(request.status, request.responseText));
    };
    request.onerror = () => done(unreachable());
    request.onabort = () => done('cancelled');
    if (signal.aborted) return done('cancelled');
    signal.addEventListener('abort', () => request.abort(), { once: true });
    request.send(file);
  });
}
