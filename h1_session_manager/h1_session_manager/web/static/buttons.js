// SPDX-License-Identifier: Apache-2.0
// The session's requests as buttons. One that makes arms move is held for 0.7 s, by finger, mouse or key; a screen
// reader's click cannot be held, so it asks a second time.
const HOLD_MS = 700;
const CONFIRM_MS = 5000;

export class Buttons {
  constructor(element, ask) {
    this.element = element;
    this.ask = ask;
    this.shown = "";
    this.held = null;
    this.confirming = null;
  }

  // list: {key, request, label, moves, confirmation}; only a page that drives may press them.
  show(list, mayPress) {
    const shown = JSON.stringify([list, mayPress]);
    if (shown === this.shown) return;
    this.shown = shown;
    this.release();
    this.confirming = null;
    const focused = document.activeElement?.dataset?.request;
    this.element.replaceChildren(...list.map((button) => this.make(button, mayPress)));
    if (focused) this.element.querySelector(`[data-request="${CSS.escape(focused)}"]`)?.focus();
  }

  make(button, mayPress) {
    const made = document.createElement("button");
    made.type = "button";
    made.disabled = !mayPress;
    made.dataset.request = button.request;
    made.dataset.key = button.key;
    made.classList.toggle("moves", button.moves);
    const key = document.createElement("b");
    key.textContent = button.key;
    made.append(key, button.label);
    const needs = button.moves ? "hold for 0.7 s" : button.confirmation ? "press twice" : "";
    if (needs) {
      const hint = document.createElement("small");
      hint.textContent = needs;
      made.append(hint);
    }
    if (button.moves) {
      const fill = document.createElement("span");
      fill.className = "fill";
      made.append(fill);
      made.addEventListener("pointerdown", (event) => { made.setPointerCapture?.(event.pointerId); this.hold(made); });
      for (const name of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) made.addEventListener(name, () => this.release());
      made.addEventListener("contextmenu", (event) => event.preventDefault());
      made.addEventListener("keydown", (event) => { if ((event.key === "Enter" || event.key === " ") && !event.repeat) { event.preventDefault(); this.hold(made); } });
      made.addEventListener("keyup", () => this.release());
      made.addEventListener("click", (event) => { if (event.detail === 0 && !event.pointerType) this.confirm(made); });
    } else {
      made.addEventListener("click", () => (button.confirmation ? this.confirm(made) : this.ask(button.request)));
    }
    return made;
  }

  hold(made) {
    if (made.disabled || this.held) return;
    made.classList.add("held");
    this.held = { made, timer: setTimeout(() => { this.release(); this.ask(made.dataset.request); }, HOLD_MS) };
  }

  release() {
    if (!this.held) return;
    clearTimeout(this.held.timer);
    this.held.made.classList.remove("held");
    this.held = null;
  }

  confirm(made) {
    if (made.disabled) return;
    if (this.confirming === made) {
      this.confirming = null;
      made.querySelector("small").textContent = "asked";
      this.ask(made.dataset.request);
      return;
    }
    this.confirming = made;
    const hint = made.querySelector("small");
    const before = hint.textContent;
    hint.textContent = "press once more to confirm";
    setTimeout(() => { if (this.confirming === made) { this.confirming = null; hint.textContent = before; } }, CONFIRM_MS);
  }

  keyDown(event) {
    const any = this.element.querySelector('[data-key="any"]:not(:disabled)');
    if (any && event.key.length === 1) return this.ask(any.dataset.request);
    if (event.key.length !== 1) return undefined;
    const made = [...this.element.children].find((child) => child.dataset.key === event.key.toLowerCase() && !child.disabled);
    if (!made) return undefined;
    event.preventDefault();
    if (made.classList.contains("moves")) return this.hold(made);
    return made.click();
  }

  keyUp(event) {
    if (this.held && this.held.made.dataset.key === event.key.toLowerCase()) this.release();
  }
}
