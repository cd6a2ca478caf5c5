// What is dropped onto the page, as files with their paths: folders are walked, and names kept. What the browser does not
// call an entry is taken as the file that it is.

export interface Item {
  /** With `/` between its parts, and none at its beginning. */
  path: string;
  file: Blob;
}

/** More than this is an archive's business. */
export const MAX_ITEMS = 10_000;

export class TooMany extends Error {}

/** The files of a drop. To be called while the event is handled, as its entries are gone afterwards. */
export async function droppedItems(transfer: DataTransfer): Promise<Item[]> {
  const roots = Array.from(transfer.items)
    .filter((item) => item.kind === 'file')
    .map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const items: Item[] = [];
  for (const root of roots) {
    if (root instanceof File) add(items, { path: root.name, file: root });
    else if (root !== null) await walk(root, '', items);
  }
  return items;
}

/** The files of a file field; those of a folder bring their path. */
export function chosenItems(files: Iterable<File>): Item[] {
  return Array.from(files, (file) => ({ path: file.webkitRelativePath || file.name, file }));
}

async function walk(entry: FileSystemEntry, folder: string, items: Item[]): Promise<void> {
  const path = folder + entry.name;
  if (entry.isFile) {
    const file = await new Promise<File>((done, failed) => (entry as FileSystemFileEntry).file(done, failed));
    add(items, { path, file });
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  // In batches, until one is empty.
  for (;;) {
    const batch = await new Promise<FileSystemEntry[]>((done, failed) => reader.readEntries(done, failed));
    if (batch.length === 0) return;
    for (const inner of batch) await walk(inner, `${path}/`, items);
  }
}

function add(items: Item[], item: Item): void {
  if (items.length >= MAX_ITEMS) throw new TooMany();
  items.push(item);
}

/** The path as it stands in an address. */
export function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}
