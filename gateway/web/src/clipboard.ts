// Copying text out of the page. The clipboard API exists in secure contexts only; plain http is a promised mode, where
// the browser's old copy command on a hidden text field does the same.

/** `within`: where the text field may stand; behind an open dialog nothing can be selected. */
export async function copyText(text: string, within: HTMLElement = document.body): Promise<boolean> {
  if (window.isSecureContext && navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Not allowed in this frame: the command below may still be.
    }
  }
  return copyByCommand(text, within);
}

function copyByCommand(text: string, within: HTMLElement): boolean {
  const focused = document.activeElement;
  const field = document.createElement('textarea');
  field.value = text;
  field.readOnly = true;
  field.className = 'copy-field';
  within.append(field);
  field.select();
  try {
    return document.execCommand('copy');
  } catch {
    return false;
  } finally {
    field.remove();
    if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
  }
}
