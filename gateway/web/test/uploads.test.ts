// Files on their way in: what is asked before one is replaced, what a refusal means for the rest, and how it is told.
import { describe, expect, it, vi } from 'vitest';
import { chosenItems, droppedItems, encodePath } from '../src/dropped';
import { outcomeText } from '../src/files';
import { readRefusal } from '../src/refusals';
import { fileExists, upload, type Replace, type Sent, type UploadDeps } from '../src/uploads';

const file = (bytes = 1) => new Blob([new Uint8Array(bytes)]);
const items = (...paths: string[]) => paths.map((path) => ({ path, file: file() }));

function deps(change: Partial<UploadDeps> = {}): UploadDeps & { sent: string[] } {
  const sent: string[] = [];
  return {
    sent,
    filesUrl: 'http://host/ws/id/files/',
    token: () => 'page',
    exists: async () => false,
    send: async (url) => (sent.push(url.slice('http://host/ws/id/files/'.length)), 'sent'),
    ask: async () => 'replace',
    progress: () => {},
    pause: async () => {},
    ...change,
  };
}
const run = (list: ReturnType<typeof items>, given: UploadDeps, signal = new AbortController().signal) => upload(list, given, signal);

describe('an upload', () => {
  it('sends each file to its own place, names kept, and tells how far it is', async () => {
    const progress = vi.fn();
    const given = deps({ progress });
    const outcome = await run([{ path: 'a b/ü#?.txt', file: file(3) }, { path: 'c', file: file(2) }], given);
    expect(given.sent).toEqual(['a%20b/%C3%BC%23%3F.txt', 'c']);
    expect(outcome.sent).toEqual(['a b/ü#?.txt', 'c']);
    expect(progress).toHaveBeenLastCalledWith({ path: 'c', number: 2, count: 2, bytes: 3, totalBytes: 5 });
  });

  it.each<[Replace, string[], number]>([
    ['replace', ['a', 'b', 'c'], 3],
    ['replace-all', ['a', 'b', 'c'], 1],
    ['skip', ['b'], 2],
    ['skip-all', ['b'], 1],
  ])('asks before it replaces; %s', async (answer, sent, asked) => {
    const ask = vi.fn(async () => answer);
    // With `replace`, all three are there; else `b` is not.
    const given = deps({ ask, exists: async (url) => answer === 'replace' || !url.endsWith('/b') });
    await run(items('a', 'b', 'c'), given);
    expect(given.sent).toEqual(sent);
    expect(ask).toHaveBeenCalledTimes(asked);
  });

  it('is over when the person says so', async () => {
    const given = deps({ exists: async (url) => url.endsWith('/b'), ask: async () => 'cancel' });
    expect(await run(items('a', 'b', 'c'), given)).toMatchObject({ sent: ['a'], cancelled: true });
    const abort = new AbortController();
    const cancelled = deps({ send: async () => (abort.abort(), 'cancelled') });
    expect(await run(items('a', 'b'), cancelled, abort.signal)).toMatchObject({ sent: [], cancelled: true });
  });

  it('goes on after one that was refused, unless nothing else could be sent either', async () => {
    const refused = (slug: string): Sent => ({ slug, text: 'No.', retryAfterMs: null });
    const refusing = (slug: string) => deps({ send: async (url) => (url.endsWith('/a') ? refused(slug) : 'sent') });
    expect(await run(items('a', 'b'), refusing('payload_too_large'))).toMatchObject({ sent: ['b'], failed: [{ path: 'a', text: 'No.' }] });
    expect(await run(items('a', 'b'), refusing('insufficient_storage'))).toMatchObject({ sent: [], failed: [{ path: 'a', text: 'No.' }] });
  });

  it('waits for its turn as long as it is told, but not for ever', async () => {
    const pause = vi.fn(async () => {});
    let busy = 2;
    const given = deps({ pause, send: async () => (busy-- > 0 ? { slug: 'too_many_transfers', text: 'Full.', retryAfterMs: 7_000 } : 'sent') });
    expect((await run(items('a'), given)).sent).toEqual(['a']);
    expect(pause.mock.calls).toEqual([[7_000], [7_000]]);
    busy = 99;
    expect((await run(items('a'), given)).failed).toHaveLength(1);
  });

  it('is told in a sentence or two', () => {
    const outcome = { sent: ['a'], skipped: 0, failed: [], cancelled: false };
    expect(outcomeText(outcome)).toBe('a was uploaded.');
    expect(outcomeText({ ...outcome, sent: ['a', 'b'], skipped: 1 })).toBe('2 files were uploaded. 1 file left as it is.');
    expect(outcomeText({ ...outcome, cancelled: true })).toBe('Cancelled, after 1 file.');
    const failed = ['a', 'b', 'c', 'd'].map((path) => ({ path, text: 'No.' }));
    expect(outcomeText({ ...outcome, sent: [], failed })).toBe('a: No. b: No. c: No. And 1 more were not uploaded.');
  });

  it('looks for a file without having it sent', async () => {
    const asking = (status: number) => vi.fn(async () => new Response(null, { status }));
    const { signal } = new AbortController();
    const there = asking(200);
    expect(await fileExists('http://host/f', 'page', signal, there)).toBe(true);
    expect(there).toHaveBeenCalledWith('http://host/f', expect.objectContaining({ method: 'HEAD', headers: { Authorization: 'Bearer page' } }));
    expect(await fileExists('http://host/f', 'page', signal, asking(404))).toBe(false);
    expect(await fileExists('http://host/f', 'page', signal, async () => Promise.reject(new TypeError()))).toBe(false);
  });
});

describe('what is dropped', () => {
  const fileEntry = (name: string) => ({ name, isFile: true, file: (done: (file: Blob) => void) => done(file()) });
  const folderEntry = (name: string, ...batches: object[][]) => ({ name, isFile: false, createReader: () => ({ readEntries: (done: (batch: object[]) => void) => done(batches.shift() ?? []) }) });
  const transfer = (...entries: object[]) => ({ items: entries.map((entry) => ({ kind: 'file', webkitGetAsEntry: () => entry })) }) as unknown as DataTransfer;

  it('is walked whole, batch by batch, with paths', async () => {
    const dropped = await droppedItems(transfer(fileEntry('a'), folderEntry('f', [fileEntry('b')], [folderEntry('g', [fileEntry('c')]), fileEntry('d')])));
    expect(dropped.map(({ path }) => path)).toEqual(['a', 'f/b', 'f/g/c', 'f/d']);
  });

  it('is not taken without end', async () => {
    const endless = { name: 'f', isFile: false, createReader: () => ({ readEntries: (done: (batch: object[]) => void) => done(Array.from({ length: 100 }, () => fileEntry('x'))) }) };
    await expect(droppedItems(transfer(endless))).rejects.toThrow();
  });

  it('keeps the paths of a chosen folder', () => {
    const chosen = [{ name: 'x', webkitRelativePath: 'f/x' }, { name: 'y', webkitRelativePath: '' }] as File[];
    expect(chosenItems(chosen).map(({ path }) => path)).toEqual(['f/x', 'y']);
    expect(encodePath('a%/b c')).toBe('a%25/b%20c');
  });
});

describe('a refusal', () => {
  const problem = (slug: string, more: object = {}) => JSON.stringify({ type: `/docs/errors/${slug}`, detail: 'as the server has it', ...more });

  it('is told in words of the page, else in the server’s', () => {
    expect(readRefusal(507, problem('insufficient_storage')).text).toBe('The session’s disk is full.');
    expect(readRefusal(413, problem('payload_too_large')).text).toBe('As the server has it.');
    expect(readRefusal(429, problem('too_many_transfers', { retry_after_secs: 3 }))).toMatchObject({ slug: 'too_many_transfers', retryAfterMs: 3000 });
    expect(readRefusal(502, '<html>').text).toMatch(/just now/);
    expect(readRefusal(418, 'null')).toEqual({ slug: '', text: 'The server refused it (418).', retryAfterMs: null });
  });
});
