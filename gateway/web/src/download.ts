// Downloads of the page: asked for with the page token, which no link could carry, and handed to the browser as a file.

import { readRefusal, unreachable, type Refusal } from './refusals';

export type Downloaded = { kind: 'file'; blob: Blob } | { kind: 'refused'; refusal: Refusal } | { kind: 'cancelled' };

export interface DownloadOptions {
  token: string;
  signal?: AbortSignal;
  /** Bytes that have come, and how many there will be, where the server says so. */
  progress?: (done: number, total: number | null) => void;
}

/** Never throws. An answer that breaks off is no file. */
export async function download(url: string, { token, signal, progress }: DownloadOptions, ask: typeof fetch = fetch): Promise<Downloaded> {
  try {
    const headers = { Authorization: `Bearer ${token}` };
    const answer = await ask(url, { headers, credentials: 'omit', cache: 'no-store', signal: signal ?? null });
    if (!answer.ok) return { kind: 'refused', refusal: readRefusal(answer.status, await answer.text()) };
    const length = Number(answer.headers.get('Content-Length') ?? NaN);
    const counted = counting(answer, progress ? (done) => progress(done, Number.isFinite(length) ? length : null) : () => {});
    return { kind: 'file', blob: await counted.blob() };
  } catch {
    return signal?.aborted ? { kind: 'cancelled' } : { kind: 'refused', refusal: unreachable() };
  }
}

/** The same answer; its bytes go to the browser's own storage as they come, and not through this page's memory. */
function counting(answer: Response, progress: (done: number) => void): Response {
  if (!answer.body) return answer;
  let done = 0;
  const counter = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
    transform(chunk, controller) {
      done += chunk.byteLength;
      progress(done);
      controller.enqueue(chunk);
    },
  });
  return new Response(answer.body.pipeThrough(counter));
}

/** How long a browser may take to open what it was told to save. */
const KEPT_MS = 60_000;

/** Has the browser save it. */
export function save(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), KEPT_MS);
}

/** Shows text in a tab of its own; a browser that allows none saves it. */
export function showText(blob: Blob, name: string): void {
  const url = URL.createObjectURL(new Blob([blob], { type: 'text/plain;charset=utf-8' }));
  if (window.open(url, '_blank') === null) save(blob, name);
  setTimeout(() => URL.revokeObjectURL(url), KEPT_MS);
}

/** An amount of bytes, for people. */
export function bytesText(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB'];
  let power = 0;
  let amount = bytes;
  while (amount >= 1024 && power < units.length - 1) {
    amount /= 1024;
    power += 1;
  }
  const digits = power === 0 || amount >= 100 ? 0 : 1;
  return `${amount.toLocaleString('en', { maximumFractionDigits: digits })} ${units[power]}`;
}
